package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// span is a network of several hosts while it is kept. Engine.mu guards what
// changes.
type span struct {
	lost chan struct{} // see driver.Site
	stop context.CancelFunc
	done chan struct{} // closed when nobody keeps it any more

	peers   []catenet.Peer
	hosts   []netip.Addr           // nil: not told yet
	traffic func() catenet.Traffic // nil: the kernel carries it
	trouble error
}

// takePart takes this host's part of a network of several, which then has pools.
// e.taking is held.
func (e *Engine) takePart(ctx context.Context, n *catenet.Network, u *undo) error {
	d := e.drivers[n.Driver].(driver.Spanning)
	e.mu.Lock()
	err := e.free(n.Name) // before others are asked
	e.mu.Unlock()
	if err != nil {
		return err
	}
	part, err := d.Join(ctx, e.o.Host, *n, func(span []netip.Prefix) error {
		e.mu.Lock()
		err := apart(span, e.neighbours(nil))
		e.mu.Unlock()
		if err != nil {
			return err
		}
		p, err := e.keepHandback(*n)
		if err == nil {
			u.add(func() { e.handBack(p); e.awaitHandback(p) })
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("join network %s: %w", n.Name, err)
	}
	n.Part, n.IPv6 = &part, slices.ContainsFunc(part.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
	n.Pools = append(n.Pools, poolsOf(part.Subnets)...)
	return nil
}

// besides are the addresses and routes of the host that a part may not have as well: a
// gateway of somebody else's containers is on his bridge, if he has it already.
func besides(part *catenet.Part, host []netip.Prefix) []netip.Prefix {
	if part != nil && part.Theirs {
		return nil
	}
	return host
}

// spanOf is what a network has of other hosts' addresses, and for one with a part its
// own among them.
func spanOf(d driver.Driver, n catenet.Network) []netip.Prefix {
	if n.Part != nil {
		return n.Part.Span
	}
	return driver.ElsewhereOf(d, n.NetworkSpec)
}

func poolsOf(subnets []netip.Prefix) (pools []catenet.Pool) {
	for _, s := range subnets {
		pools = append(pools, catenet.Pool{Subnet: s})
	}
	return pools
}

// apart refuses a span that has addresses of another network's.
func apart(span []netip.Prefix, neighbours []catenet.Network) error {
	for _, n := range neighbours {
		for _, p := range n.Pools {
			if slices.ContainsFunc(span, p.Subnet.Overlaps) {
				return catenet.Conflictf("the network reaches over %v, which overlaps %s of network %s", span, p.Subnet, n.Name).
					WithHint("remove that one, or choose other subnets for it")
			}
		}
	}
	return nil
}

// keepSpan keeps a network of several hosts until it is removed or the engine
// ends.
func (e *Engine) keepSpan(n *network) {
	d, spans := n.driver.(driver.Spanning)
	if !spans {
		return
	}
	ctx, stop := context.WithCancel(e.ctx)
	s := &span{lost: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	e.locked(func() { n.span = s })
	e.goTask(func(context.Context) {
		defer close(s.done)
		for ctx.Err() == nil {
			err := d.Run(ctx, e.site(ctx, n, s))
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				err = errors.New("its driver has stopped")
			}
			e.troubled(n, s, err)
			sleep(ctx, rewatch)
		}
	})
}

// site is what a driver keeps the network with.
func (e *Engine) site(ctx context.Context, n *network, s *span) driver.Site {
	memory, err := store.Load[[]byte](e.o.Store, store.Live, kindMemory)
	e.report("read what is known of other hosts", n.Name, err)
	return driver.Site{Host: e.o.Host, Network: e.asItIs(n), Memory: memory[n.ID], Lost: s.lost,
		Tell: func(news driver.News) { e.hear(ctx, n, s, news) }}
}

// hear makes what a driver tells true.
func (e *Engine) hear(ctx context.Context, n *network, s *span, news driver.News) {
	n.op.Lock()
	defer n.op.Unlock()
	if ctx.Err() != nil {
		return
	}
	trouble := news.Trouble
	if news.Part != nil {
		trouble = errors.Join(trouble, e.repart(ctx, n, *news.Part))
	}
	e.locked(func() {
		if news.Peers != nil {
			s.peers = news.Peers
		}
		if news.Hosts != nil {
			s.hosts = news.Hosts
		}
		if news.Traffic != nil {
			s.traffic = news.Traffic
		}
	})
	trouble = errors.Join(trouble, e.shed(ctx, n))
	trouble = errors.Join(trouble, e.settle(ctx, n, n.state)) // which shed may have changed
	if news.Memory != nil {
		trouble = errors.Join(trouble, e.o.Store.Update(store.Live, func(tx *store.Tx) error { return tx.Put(kindMemory, n.ID, news.Memory) }))
	}
	e.troubled(n, s, trouble)
}

// settle makes the state of a network that is up the known one, and its rules so.
// n.op is held.
func (e *Engine) settle(ctx context.Context, n *network, state driver.State) error {
	state.Firewall = n.guards(state.Firewall)
	if !reflect.DeepEqual(state.Firewall, n.state.Firewall) {
		if err := e.o.Firewall.Apply(ctx, firewall.Change{AddNetworks: state.Firewall}); err != nil {
			return fmt.Errorf("guard network %s: %w", n.Name, err)
		}
	}
	e.locked(func() { n.state = state })
	return nil
}

// guards are what a network wants of the firewall, by what is known of its hosts.
func (n *network) guards(wants []firewall.Network) []firewall.Network {
	if n.span == nil || n.span.hosts == nil {
		return wants
	}
	wants = slices.Clone(wants)
	for i := range wants {
		if len(wants[i].Span) > 0 {
			wants[i].Hosts = n.span.hosts
		}
	}
	return wants
}

// repart gives a network another part. Addresses of subnets that are others' now
// stay with who has them, and are handed out no more. n.op is held.
func (e *Engine) repart(ctx context.Context, n *network, part catenet.Part) error {
	now := e.asItIs(n)
	if now.Part != nil && reflect.DeepEqual(*now.Part, part) {
		return nil
	}
	next := now
	next.Part, next.Pools = &part, slices.Clone(now.Pools)
	for i := range next.Pools {
		p := &next.Pools[i]
		if p.SetAside = nil; !slices.Contains(part.Subnets, p.Subnet) {
			p.SetAside = []catenet.Range{catenet.RangeOf(p.Subnet)}
		}
	}
	var asked []catenet.Pool
	for _, s := range part.Subnets {
		if !slices.ContainsFunc(now.Pools, func(p catenet.Pool) bool { return p.Subnet == s }) {
			asked = append(asked, catenet.Pool{Subnet: s})
		}
	}
	fresh, err := e.admit(n, next, asked)
	if err != nil {
		return fmt.Errorf("take another part of network %s: %w", n.Name, err)
	}
	next.Pools = append(next.Pools, fresh...)
	if err := e.alter(ctx, n, next); err != nil {
		return err
	}
	e.log.Warn("this host's part of the network is another now", "network", n.Name, "was", now.Part.Subnets, "is", part.Subnets, "mtu", part.MTU)
	e.tell("network", "update", n.ID, "name", n.Name, "type", n.Driver)
	for _, w := range e.follow(ctx, n) {
		e.log.Warn(w)
	}
	return nil
}

// shed takes the subnets off a network that are another host's now, once nobody here has
// an address of theirs: that host's containers are reached then. n.op is held.
func (e *Engine) shed(ctx context.Context, n *network) error {
	next := e.asItIs(n)
	if next.Part == nil {
		return nil
	}
	var kept []catenet.Pool
	e.locked(func() {
		for i, pool := range n.pools {
			if slices.Contains(next.Part.Subnets, n.Pools[i].Subnet) || inhabited(pool) {
				kept = append(kept, n.Pools[i])
			}
		}
	})
	if len(kept) == len(next.Pools) || len(kept) == 0 {
		return nil
	}
	next.Pools = kept
	return e.alter(ctx, n, next)
}

// inhabited reports whether anybody but the network itself has an address of a pool.
func inhabited(pool *ipam.Pool) bool {
	for _, owner := range pool.Owners() {
		if owner != ipam.OwnerGateway {
			return true
		}
	}
	return false
}

// admit checks pools that a part brings.
func (e *Engine) admit(n *network, next catenet.Network, asked []catenet.Pool) ([]catenet.Pool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	others := e.others(n)
	if err := apart(next.Part.Span, others); err != nil {
		return nil, err
	}
	return ipam.Admit(next.NetworkSpec, asked, ipam.Surroundings{Networks: others})
}

// others are the neighbours of a network that there is. e.mu is held.
func (e *Engine) others(n *network) []catenet.Network {
	return slices.DeleteFunc(e.neighbours(nil), func(o catenet.Network) bool { return o.ID == n.ID })
}

// troubled notes how a network of several hosts is doing, and says so when that
// changes.
func (e *Engine) troubled(n *network, s *span, trouble error) {
	var was error
	e.locked(func() { was, s.trouble = s.trouble, trouble })
	switch {
	case trouble == nil && was != nil:
		e.log.Info("network of several hosts is in order again", "network", n.Name)
	case trouble != nil && (was == nil || was.Error() != trouble.Error()):
		e.log.Warn("network of several hosts is in trouble", "network", n.Name, "err", trouble)
	}
}

// parted ends what keeps a network of several hosts, and waits for it.
func (e *Engine) parted(n *network) {
	var s *span
	e.locked(func() { s = n.span })
	if s != nil {
		s.stop()
		<-s.done
	}
}

// searched has the driver look whether the other hosts are still reached. Engine.mu
// is held.
func (n *network) searched() {
	if n.span == nil {
		return
	}
	select {
	case n.span.lost <- struct{}{}:
	default: // it has yet to look
	}
}

// sweepReach takes away what leads to hosts of networks that nobody knows.
func (e *Engine) sweepReach(ctx context.Context) error {
	all, err := e.o.Host.Reached(ctx)
	if err != nil {
		return fmt.Errorf("list routes to other hosts: %w", err)
	}
	var known []netip.Prefix
	for _, n := range e.networks {
		if n.Part != nil { // one that is not up is still to be reached
			known = append(known, n.Part.Span...)
		}
		for _, f := range n.state.Firewall {
			known = append(known, f.Span...)
		}
	}
	orphans := slices.DeleteFunc(all, func(r kernel.Reach) bool { return slices.ContainsFunc(known, r.Subnet.Overlaps) })
	if len(orphans) == 0 {
		return nil
	}
	e.log.Info("remove routes to other hosts that nobody knows", "routes", len(orphans))
	return e.o.Host.Reach(ctx, nil, orphans)
}
