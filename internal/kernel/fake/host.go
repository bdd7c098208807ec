package fake

import (
	"bytes"
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// etherMTU is what a link carries unless it is told otherwise.
const etherMTU = 1500

// errLooking is what kernel.Looking makes of a change.
var errLooking = catenet.Conflictf("it is not as it should be")

// EnsureLink implements kernel.Host.
func (k *Kernel) EnsureLink(ctx context.Context, l kernel.Link) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	if l.Master != "" {
		master, ok := k.links[l.Master]
		if !ok {
			return catenet.NotFoundf("there is no link %s for %s to be a port of", l.Master, l.Name)
		}
		if l.MTU == 0 {
			l.MTU = master.MTU
		}
	}
	if l.MTU == 0 {
		l.MTU = etherMTU
	}
	l.Addrs = slices.Clone(l.Addrs)
	old, exists := k.links[l.Name]
	left := exists && old.Alias == "" && old.VXLAN != nil && l.VXLAN != nil && *old.VXLAN == *l.VXLAN && bytes.Equal(old.MAC, l.MAC)
	if exists && (old.Kind != l.Kind || old.Alias != l.Alias && !left) {
		return catenet.Conflictf("there is a %s interface %s already, and it is not ours", old.Kind, l.Name)
	}
	if exists && !k.leads(l) && !kernel.Looks(ctx) {
		k.remove(l.Name)
		exists = false
	}
	if exists && k.leads(l) && reflect.DeepEqual(bare(old), bare(l)) {
		return nil
	}
	if kernel.Looks(ctx) {
		return errLooking
	}
	if !exists && l.Peer != nil && l.Peer.NS != nil {
		in := k.inside[l.Peer.NS.Inode]
		if in == nil {
			return catenet.NotFoundf("namespace %s is gone", l.Peer.NS.Path)
		}
		_, worn := in.interfaces[l.Peer.Name]
		if _, parked := in.parked[l.Peer.Name]; parked || worn {
			return catenet.Conflictf("there is an interface %s already where %s leads", l.Peer.Name, l.Name)
		}
		in.parked[l.Peer.Name] = l.Name
	}
	k.wrote(ctx)
	k.links[l.Name] = l
	return nil
}

// bare is the link without its open namespace, which is another each time.
func bare(l kernel.Link) kernel.Link {
	l.Peer = nil
	return l
}

// leads tells whether the peer of a link that exists is where l says.
func (k *Kernel) leads(l kernel.Link) bool {
	if l.Peer == nil || l.Peer.NS == nil {
		return true
	}
	in := k.inside[l.Peer.NS.Inode]
	return in != nil && in.parked[l.Peer.Name] == l.Name
}

// remove takes a link away, both its ends, and its ports off a bridge.
func (k *Kernel) remove(name string) {
	delete(k.links, name)
	for port, l := range k.links {
		if l.Master == name {
			l.Master = ""
			k.links[port] = l
		}
	}
	for subnet, r := range k.reach {
		if r.Link == name {
			delete(k.reach, subnet)
		}
	}
	for _, in := range k.inside {
		for peer, outside := range in.parked {
			if outside == name {
				delete(in.parked, peer)
				delete(in.interfaces, peer)
			}
		}
	}
}

// DeleteLinks implements kernel.Host.
func (k *Kernel) DeleteLinks(ctx context.Context, names ...string) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	for _, name := range names {
		if l, ok := k.links[name]; ok && strings.HasPrefix(l.Alias, kernel.Mark) {
			k.wrote(ctx)
			k.remove(name)
		}
	}
	return nil
}

// Links implements kernel.Host.
func (k *Kernel) Links(ctx context.Context) ([]kernel.Link, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var found []kernel.Link
	for _, l := range k.links {
		if strings.HasPrefix(l.Alias, kernel.Mark) {
			l.Peer, l.NoIPv6, l.Rate, l.Through, l.VXLAN, l.Addrs = nil, false, kernel.Rate{}, "", nil, slices.Clone(l.Addrs)
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b kernel.Link) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// Link implements kernel.Host.
func (k *Kernel) Link(ctx context.Context, name string) (kernel.Link, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return kernel.Link{}, err
	}
	l, ok := k.links[name]
	if !ok {
		return l, catenet.NotFoundf("this host has no link %s", name)
	}
	return kernel.Link{Name: l.Name, Kind: l.Kind, Alias: l.Alias, MTU: l.MTU, MAC: l.MAC, VXLAN: l.VXLAN}, nil
}

// Routes implements kernel.Host.
func (k *Kernel) Routes(ctx context.Context) ([]netip.Prefix, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	found := slices.Clone(k.routes)
	for _, l := range k.links {
		found = append(found, l.Addrs...)
	}
	slices.SortFunc(found, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(found), nil
}

// DefaultLink implements kernel.Host.
func (k *Kernel) DefaultLink(ctx context.Context) (string, int, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	return k.uplink, k.mtu, err
}

// EnableForwarding implements kernel.Host.
func (k *Kernel) EnableForwarding(ctx context.Context, v4, v6 bool) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	if v4 && !k.forward4 || v6 && !k.forward6 {
		k.wrote(ctx)
	}
	k.forward4, k.forward6 = k.forward4 || v4, k.forward6 || v6
	return nil
}

// Watch implements kernel.Host: it tells of what Break does.
func (k *Kernel) Watch(ctx context.Context, lost func(kernel.Loss)) error {
	err := k.call(ctx)
	k.watchID++
	id := k.watchID
	if err == nil {
		k.watchers[id] = lost
	}
	k.mu.Unlock()
	if err != nil {
		return err
	}
	<-ctx.Done()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.watchers, id)
	return ctx.Err()
}

// Break removes a link of the host, as somebody else would.
func (k *Kernel) Break(name string) {
	k.mu.Lock()
	k.remove(name)
	k.mu.Unlock()
	k.tell(kernel.Loss{Link: name})
}

// Add gives the host a link of somebody else's.
func (k *Kernel) Add(l kernel.Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.links[l.Name] = l
}

// tell calls the watchers, without the lock: they may call back.
func (k *Kernel) tell(l kernel.Loss) {
	k.mu.Lock()
	var all []func(kernel.Loss)
	for _, lost := range k.watchers {
		all = append(all, lost)
	}
	k.mu.Unlock()
	for _, lost := range all {
		lost(l)
	}
}
