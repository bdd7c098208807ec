package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/names"
)

// UpdateNetwork changes what of a network can be another while its containers
// run. It returns the network as it is then, and what somebody should know
// about it. What is as asked already is no change.
//
// The record comes first: a daemon that dies behind it has the network as
// updated at its next start.
func (e *Engine) UpdateNetwork(ctx context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error) {
	e.mu.Lock()
	n, err := e.network(ref)
	e.mu.Unlock()
	if err != nil {
		return catenet.Network{}, nil, err
	}
	n.op.Lock()
	defer n.op.Unlock()
	host, err := e.o.Host.Routes(ctx)
	if err != nil {
		return catenet.Network{}, nil, fmt.Errorf("read routes: %w", err)
	}
	if err := e.rewrite(n); err != nil {
		return catenet.Network{}, nil, err
	}
	now := e.asItIs(n)
	next, err := e.planUpdate(n, up, host)
	defer e.locked(func() { n.coming.name, n.coming.pools = "", nil })
	if err != nil || reflect.DeepEqual(now, next) {
		return next, nil, err
	}
	if err := e.alter(ctx, n, next); err != nil {
		return catenet.Network{}, nil, err
	}
	warnings := n.overlaps(next.Pools[len(now.Pools):], host)
	if !maps.Equal(now.Options, next.Options) {
		e.locked(func() { warnings = append(warnings, n.warnings()...) })
	}
	if now.Name != next.Name {
		e.o.Names.SetNetwork(n.ID, next.Name, n.inward())
		if err := e.rewrite(n); err != nil {
			warnings = append(warnings, err.Error())
		}
		e.tell("network", "rename", n.ID, "name", next.Name, "type", n.Driver, "oldName", now.Name)
	}
	if len(now.Pools) < len(next.Pools) || !slices.Equal(now.DNS, next.DNS) || !maps.Equal(now.Options, next.Options) {
		warnings = append(warnings, e.follow(ctx, n)...) // containers have no part in the rest
	}
	e.tell("network", "update", n.ID, "name", next.Name, "type", n.Driver)
	return next, warnings, nil
}

// planUpdate says what the network is to be, before anything is touched, and
// keeps others off the subnets that it is to have. n.op is held.
func (e *Engine) planUpdate(n *network, up catenet.NetworkUpdate, host []netip.Prefix) (catenet.Network, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := n.Network
	if n.removing {
		return next, catenet.NotFoundf("there is no network %q: it has just been removed", n.Name)
	}
	if n.ConfigOnly {
		return next, catenet.Forbiddenf("network %s is config-only and cannot be updated", n.Name).
			WithHint("make another one; networks that were made from it can be updated themselves")
	}
	if err := e.call(n, &next, up.Name); err != nil {
		return next, err
	}
	if err := relabel(&next, up); err != nil {
		return next, err
	}
	if err := redirectDNS(&next, up); err != nil {
		return next, err
	}
	if err := choose(n, &next, up); err != nil {
		return next, err
	}
	fresh, err := newOnes(n, up.AddPools)
	if err != nil {
		return next, err
	}
	next.Pools = append(slices.Clone(n.Pools), fresh...)
	if err := n.driver.Validate(next.NetworkSpec); err != nil {
		return next, err
	}
	span := spanOf(n.driver, next)
	if err := apart(span, e.others(n)); err != nil {
		return next, err
	}
	around := ipam.Surroundings{Networks: e.neighbours(nil), Host: host, Apart: driver.ShapeOf(n.driver).Apart}
	if fresh, err = ipam.Admit(next.NetworkSpec, fresh, around); err != nil {
		return next, err
	}
	copy(next.Pools[len(n.Pools):], fresh)
	if err := setAside(&next, up); err != nil {
		return next, err
	}
	if _, err = newPools(next.Pools[len(n.Pools):]); err == nil {
		n.coming.pools = slices.Concat(fresh, poolsOf(span))
	}
	return next, err
}

// choose changes the MTU, and those options that the driver lets change.
func choose(n *network, next *catenet.Network, up catenet.NetworkUpdate) error {
	if up.MTU == 0 && len(up.Options) == 0 {
		return nil
	}
	options := maps.Clone(next.Options)
	if options == nil {
		options = make(map[string]string)
	}
	known := n.driver.Options()
	for _, key := range slices.Sorted(maps.Keys(up.Options)) {
		err := catenet.Forbiddenf("option %s of network %s cannot be changed: it is settled when a network is made", key, n.Name)
		switch {
		case slices.Contains(known.Update, key) || !slices.Contains(append(known.Network, catenet.OptionMTUShort), key): // an unknown one the driver refuses
			options[key] = up.Options[key]
		case key == catenet.OptionMTU || key == catenet.OptionMTUShort:
			return err.WithHint("--mtu changes the MTU")
		case len(known.Update) == 0:
			return err.WithHint("none of the %s driver's can be: make the network anew", n.Driver)
		default:
			return err.WithHint("of the %s driver's these can be: %s", n.Driver, strings.Join(known.Update, ", "))
		}
	}
	if up.MTU != 0 {
		delete(options, catenet.OptionMTUShort)
		options[catenet.OptionMTU] = strconv.Itoa(up.MTU)
	}
	next.Options = options
	return nil
}

// setAside changes which addresses are left to others. What is to go and is not
// there, or to come and is, is as asked.
func setAside(next *catenet.Network, up catenet.NetworkUpdate) error {
	for i := range next.Pools {
		p := &next.Pools[i]
		p.SetAside = slices.DeleteFunc(slices.Clone(p.SetAside), func(r catenet.Range) bool { return slices.Contains(up.DropSetAside, r) })
	}
	for _, r := range up.AddSetAside {
		i := slices.IndexFunc(next.Pools, func(p catenet.Pool) bool { return p.Subnet.Contains(r.First) })
		switch {
		case slices.Contains(up.DropSetAside, r):
			return catenet.Invalidf("the range %s is to be set aside, and not to be", r)
		case i < 0:
			return catenet.Invalidf("the range %s is in no subnet of network %s", r, next.Name).WithHint("its subnets are: %s", subnets(*next))
		case !slices.Contains(next.Pools[i].SetAside, r):
			next.Pools[i].SetAside = append(next.Pools[i].SetAside, r)
		}
	}
	for _, p := range next.Pools {
		if _, err := ipam.NewPool(p); err != nil {
			return err
		}
	}
	return nil
}

// relabel changes labels. What is to go and is not there is as asked.
func relabel(next *catenet.Network, up catenet.NetworkUpdate) error {
	labels := maps.Clone(next.Labels)
	for _, key := range up.DropLabels {
		if _, both := up.AddLabels[key]; both {
			return catenet.Invalidf("the label %q is to be added and to be dropped", key)
		}
		delete(labels, key)
	}
	for key, value := range up.AddLabels {
		if key == "" {
			return errNoKey
		}
		if labels == nil {
			labels = make(map[string]string)
		}
		labels[key] = value
	}
	next.Labels = labels
	return nil
}

// redirectDNS changes the servers behind the resolver.
func redirectDNS(next *catenet.Network, up catenet.NetworkUpdate) error {
	servers := slices.DeleteFunc(slices.Clone(next.DNS), func(a netip.Addr) bool { return slices.Contains(up.DropDNS, a) })
	for _, a := range up.AddDNS {
		if slices.Contains(up.DropDNS, a) {
			return catenet.Invalidf("the name server %s is to be added and to be dropped", a)
		}
		if !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	next.DNS = servers
	return names.ValidateDNS(catenet.DNSConfig{Servers: servers})
}

// newOnes are the pools that a network does not have. One that it has is as
// asked, unless it is otherwise in what was named: that stays as it was made.
// The engine's mu is held.
func newOnes(n *network, asked []catenet.Pool) (fresh []catenet.Pool, err error) {
	for _, p := range asked {
		i := slices.IndexFunc(n.Pools, func(has catenet.Pool) bool { return has.Subnet == p.Subnet })
		if i < 0 {
			fresh = append(fresh, p)
			continue
		}
		has := n.Pools[i]
		if p.Range.IsValid() && p.Range != has.Range || p.Gateway.IsValid() && p.Gateway != has.Gateway || len(p.Aux) > 0 && !maps.Equal(p.Aux, has.Aux) {
			return nil, catenet.Forbiddenf("subnet %s is in network %s already: its range, gateway and auxiliary addresses stay", p.Subnet, n.Name).
				WithHint("add another subnet, or make a network anew")
		}
	}
	return fresh, nil
}

// alter makes a network what next says: on record, in the kernel, then for
// those who join. If that fails it is as before. n.op is held.
func (e *Engine) alter(ctx context.Context, n *network, next catenet.Network) (err error) {
	now, undoing := e.asItIs(n), context.WithoutCancel(ctx)
	pools, err := n.allocators(livePools(next))
	if err != nil {
		return err
	}
	var u undo
	defer u.unless(&err)
	entry := networkEntry{Network: next}
	if next.Name != now.Name {
		entry.Was = now.Name
	}
	if err = e.keepNetwork(entry); err != nil {
		return err
	}
	u.add(func() {
		e.report("take back update of network", now.Name, e.keepNetwork(networkEntry{Network: now}))
	})
	u.add(func() {
		_, err := driver.Change(undoing, n.driver, e.o.Host, next, now)
		e.report("take back update of network", now.Name, err)
	})
	state, err := driver.Change(ctx, n.driver, e.o.Host, now, next)
	if err != nil {
		return fmt.Errorf("update network %s: %w", now.Name, err)
	}
	if err = e.settle(ctx, n, state); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n.Name, n.was = next.Name, entry.Was
	n.Labels, n.DNS, n.Options, n.Pools, n.Part = next.Labels, next.DNS, next.Options, next.Pools, next.Part
	n.pools = pools
	for i, pool := range n.pools {
		pool.SetAside(n.Pools[i].SetAside)
	}
	return nil
}

// allocators returns those of pools: the ones that there are, and new ones. n.op is
// held.
func (n *network) allocators(pools []catenet.Pool) (all []*ipam.Pool, err error) {
	for i, p := range pools {
		if at := slices.IndexFunc(n.Pools, func(have catenet.Pool) bool { return have.Subnet == p.Subnet }); at >= 0 && at < len(n.pools) {
			all = append(all, n.pools[at])
			continue
		}
		made, err := newPools(pools[i : i+1])
		if err != nil {
			return nil, err
		}
		all = append(all, made...)
	}
	return all, nil
}

// follow has the containers of a network become what it is now, and says of
// which it could not: those are tried again, as after any loss.
func (e *Engine) follow(ctx context.Context, n *network) (warnings []string) {
	var members []*sandbox
	e.locked(func() {
		for _, id := range n.members {
			if sb := e.sandboxes[id]; sb != nil {
				members = append(members, sb)
			}
		}
	})
	sideBySide(members, func(sb *sandbox) { e.repairSandbox(ctx, sb) })
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sb := range members {
		if a := sb.ailment; a != nil {
			warnings = append(warnings, fmt.Sprintf("container %s is not as its network is yet: %s", sb.name, a.why))
		}
	}
	slices.Sort(warnings)
	return warnings
}
