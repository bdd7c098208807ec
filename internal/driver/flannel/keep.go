package flannel

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
)

// apply makes a change among the peers true; ways are those to the ones that come.
func (k *keeper) apply(ctx context.Context, d flannel.Delta, ways map[string]way) error {
	var add, remove []kernel.Reach
	var gone []netip.Prefix
	for _, p := range d.Remove {
		remove = append(remove, k.ways[p.Key()].reach...)
		gone = append(gone, p.IPv4)
		delete(k.ways, p.Key())
	}
	for key, w := range ways {
		add = append(add, w.reach...)
		k.ways[key] = w
	}
	if k.carry != nil {
		return k.carry.change(ways, gone)
	}
	if len(add)+len(remove) == 0 {
		return nil
	}
	return k.s.Host.Reach(ctx, add, remove)
}

// lead makes all that leads to the other hosts right. What is right already is only
// looked at.
func (k *keeper) lead(ctx context.Context) {
	k.lost = k.leadAll(ctx)
}

func (k *keeper) leadAll(ctx context.Context) error {
	var want []kernel.Reach
	if k.ways != nil { // which of them are on a wire of this host may have changed
		ways, err := k.p.ways(ctx, k.s.Host, peers(k.ways))
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(ways, k.ways) {
			k.ways, k.change = ways, true
		}
		for _, w := range ways {
			want = append(want, w.reach...)
		}
	}
	if k.carry != nil {
		want = append(want, k.carry.route)
		if err := k.carry.set(k.ways); err != nil {
			return err
		}
	} else if k.ways == nil {
		return nil // what there is is from before
	}
	return driver.Lead(ctx, k.s.Host, k.within(), want, k.p.tunnels()...)
}

// within is where nothing else may lead: to the whole network once the registry has
// said who is there, and to the peers that are remembered before. One that came when
// the daemon was killed is not.
func (k *keeper) within() (subnets []netip.Prefix) {
	if k.listed || k.carry != nil {
		return k.p.span()
	}
	for _, w := range k.ways {
		for _, s := range []netip.Prefix{w.IPv4, w.IPv6} {
			if s.IsValid() {
				subnets = append(subnets, s)
			}
		}
	}
	return subnets
}

func peers(ways map[string]way) (all []flannel.Peer) {
	for _, key := range slices.Sorted(maps.Keys(ways)) {
		all = append(all, ways[key].Peer)
	}
	return all
}

// remembered is a peer as it is kept over the daemon's end.
type remembered struct {
	flannel.Subnets
	PublicIP     netip.Addr
	PublicIPv6   netip.Addr  `json:",omitzero"`
	VTEP4, VTEP6 flannel.MAC `json:",omitzero"`
}

// memory is what remember reads.
func memory(ways map[string]way) ([]byte, error) {
	all := make([]remembered, 0, len(ways))
	for _, p := range peers(ways) {
		all = append(all, remembered(p))
	}
	return json.Marshal(all)
}

// remember returns the ways to the peers that an earlier run has told of; nil for
// none. It needs no etcd.
func remember(ctx context.Context, s driver.Site, p held) (map[string]way, error) {
	if s.Memory == nil {
		return nil, nil
	}
	var all []remembered
	if err := json.Unmarshal(s.Memory, &all); err != nil {
		return nil, fmt.Errorf("read what is known of other hosts: %w", err)
	}
	known := make([]flannel.Peer, len(all))
	for i, r := range all {
		known[i] = flannel.Peer(r)
	}
	return p.ways(ctx, s.Host, known)
}

// moved finds where this host is, and reports whether that is elsewhere than before.
// If it cannot be found out nothing changes.
func (k *keeper) moved(ctx context.Context) (site, bool) {
	now, err := look(ctx, k.s.Host, k.o, k.p.site)
	k.where = err
	now = k.p.at(now)
	return now, err == nil && now != k.p.site
}

// locate has the network go on from where this host is now. Where that is an address
// that the others do not know, the registry has it first.
func (k *keeper) locate(ctx context.Context) error {
	now, moved := k.moved(ctx)
	if !moved {
		return nil
	}
	next := k.p
	next.site = now
	err := next.suits()
	if err == nil && (next.IP != k.p.IP || next.IPv6 != k.p.IPv6) {
		err = k.readdress(ctx, &next)
	}
	if err != nil {
		k.where = fmt.Errorf("this host is at %v now, and was at %v: %w", now.IP, k.p.IP, err)
		return nil
	}
	k.p = next
	return k.repart()
}

// readdress has the registry know this host by another address. It keeps its subnets.
// The store is asked by a new connection: the one that there was may come from an
// address that this host has no longer.
func (k *keeper) readdress(ctx context.Context, next *held) error {
	store, err := k.d.store(k.o)
	if err != nil {
		return err
	}
	k.store, err = store, k.store.Close()
	if err != nil {
		return err
	}
	node := k.d.node(*next, k.s.Network)
	data := node.Backend
	node.Backend = func(c flannel.Config) (flannel.BackendData, error) {
		if !c.Same(k.p.config) {
			return flannel.BackendData{}, catenet.Conflictf("the flannel network's config has been changed since").
				WithHint("remove the network, and make it anew")
		}
		if err := flannel.Leave(ctx, k.o.registry(k.store), lease(k.s.Network.ID)); err != nil {
			return flannel.BackendData{}, err
		}
		return data(c)
	}
	_, err = k.d.take(ctx, k.o, k.store, node, next)
	return err
}

// writeFile tells those who make containers of their own. One file can tell of one
// network.
func (p held) writeFile(o options) error {
	if err := p.tells(o.file); err != nil {
		return err
	}
	return flannel.WriteEnv(o.file, p.env(o.masquerade))
}

// tells reports whether a file tells of another network.
func (p held) tells(file string) error {
	there, err := flannel.ReadEnv(file)
	if err == nil && there.IPv4.IsValid() && !there.IPv4.Overlaps(p.config.Network) {
		err = catenet.Conflictf("the file %s tells of another network's %v", file, there).
			WithHint("one file tells of one network: remove it if that one is no more, or name another with -o %s= (--%s of catenet flanneld)", optFile, optFile)
	}
	return err
}
