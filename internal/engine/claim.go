package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/store"
)

// claim is a claimed subnet in memory.
type claim struct {
	catenet.Claim
	pool *ipam.Pool
}

// ClaimPool promises a subnet: that of ask, which overlaps no other, or if that
// is zero one of the default pools. It lasts until ReleasePool, or until a network
// takes it (NetworkSpec.TakeClaims). Asked for just so once more, before anything
// is leased of it, it is the same one.
func (e *Engine) ClaimPool(ctx context.Context, ask catenet.Pool, ipv6 bool) (catenet.Claim, error) {
	host, err := e.o.Host.Routes(ctx)
	if err != nil {
		return catenet.Claim{}, fmt.Errorf("read routes: %w", err)
	}
	e.leasing.Lock()
	defer e.leasing.Unlock()
	c, err := e.chooseClaim(ask, ipv6, host)
	if err != nil {
		return catenet.Claim{}, err
	}
	if err := e.keepClaim(c.Claim); err != nil {
		e.locked(func() { delete(e.claims, c.Subnet) })
		return catenet.Claim{}, err
	}
	return c.Claim, nil
}

// chooseClaim takes a subnet that is nobody's. e.leasing is held.
func (e *Engine) chooseClaim(ask catenet.Pool, ipv6 bool, host []netip.Prefix) (*claim, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.claims[ask.Subnet]; old != nil && len(old.Leases) == 0 && old.Range == ask.Range {
		return old, nil
	}
	spec := catenet.NetworkSpec{IPv6: ipv6, DisableIPv4: ipv6}
	if ask.Subnet.IsValid() {
		spec.Pools = []catenet.Pool{ask}
	}
	pools, err := ipam.Complete(spec, ipam.Surroundings{Networks: e.neighbours(nil), Host: host, Defaults: e.o.Pools, Seed: e.o.Store.NodeID()})
	if err != nil {
		return nil, err
	}
	c, err := newClaim(catenet.Claim{Pool: pools[0]})
	if err == nil {
		e.claims[c.Subnet] = c
	}
	return c, err
}

// newClaim makes the allocator of a claim.
func newClaim(on catenet.Claim) (*claim, error) {
	pool, err := ipam.NewPool(on.Pool)
	if err != nil {
		return nil, err
	}
	for _, a := range on.Leases {
		if a == on.Gateway {
			continue
		}
		if err := pool.Restore(ownerLease, a); err != nil {
			return nil, err
		}
	}
	return &claim{on, pool}, nil
}

// ReleasePool ends a claim. One that is not there, or became a network's, is no
// error.
func (e *Engine) ReleasePool(_ context.Context, subnet netip.Prefix) error {
	e.leasing.Lock()
	defer e.leasing.Unlock()
	err := e.dropClaim(subnet)
	if err == nil {
		e.locked(func() { delete(e.claims, subnet) })
	}
	return err
}

// Claims returns the claimed subnets that no network has taken.
func (e *Engine) Claims(context.Context) (all []catenet.Claim, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.claims {
		all = append(all, c.Claim)
	}
	slices.SortFunc(all, func(a, b catenet.Claim) int { return a.Subnet.Addr().Compare(b.Subnet.Addr()) })
	return all, nil
}

// LeaseGateway returns the gateway of a network's or a claimed subnet. Of a claim it
// becomes want, unless that is zero; of a network it is what it is.
func (e *Engine) LeaseGateway(_ context.Context, subnet netip.Prefix, want netip.Addr) (netip.Addr, error) {
	e.leasing.Lock()
	defer e.leasing.Unlock()
	var n *network
	e.locked(func() { n, _ = e.networkAt(subnet) })
	if n != nil {
		i := slices.IndexFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet == subnet })
		if g := n.Pools[i].Gateway; !want.IsValid() || want == g {
			return g, nil
		}
		return want, catenet.Conflictf("the gateway of network %s is %s, and not %s", n.Name, n.Pools[i].Gateway, want).WithHint("leave --gateway out")
	}
	old := e.claims[subnet]
	if old == nil {
		return want, noClaim(subnet)
	}
	next := old.Claim
	if want.IsValid() {
		next.Gateway = want
	}
	next.Leases = slices.DeleteFunc(slices.Clone(next.Leases), func(a netip.Addr) bool { return a == old.Gateway || a == next.Gateway })
	next.Leases = append(next.Leases, next.Gateway)
	return next.Gateway, e.changeClaim(next)
}

// changeClaim puts another claim of the same subnet in the place of what is there.
// e.leasing is held.
func (e *Engine) changeClaim(next catenet.Claim) error {
	c, err := newClaim(next)
	if err != nil {
		return err
	}
	if old := e.claims[next.Subnet]; old != nil {
		c.pool.SetCursor(old.pool.Cursor())
	}
	err = e.keepClaim(next)
	if err == nil {
		e.locked(func() { e.claims[next.Subnet] = c })
	}
	return err
}

// leaseClaimed is LeaseAddress for a claimed subnet. e.leasing is held.
func (e *Engine) leaseClaimed(l catenet.Lease) (catenet.Lease, error) {
	c := e.claims[l.Subnet]
	if c == nil {
		return l, noClaim(l.Subnet)
	}
	a, err := c.pool.Request(ownerLease, l.Address)
	if err != nil {
		return l, err
	}
	next := c.Claim
	next.Leases = append(slices.Clone(next.Leases), a)
	l.Address = a
	if err := e.changeClaim(next); err != nil {
		return l, errors.Join(err, c.pool.Release(ownerLease, a))
	}
	return l, nil
}

// releaseClaimed is ReleaseAddress for a claimed subnet. e.leasing is held.
func (e *Engine) releaseClaimed(subnet netip.Prefix, a netip.Addr) error {
	c := e.claims[subnet]
	if c == nil || a == c.Gateway || !slices.Contains(c.Leases, a) {
		return nil
	}
	next := c.Claim
	next.Leases = slices.DeleteFunc(slices.Clone(next.Leases), func(b netip.Addr) bool { return a == b })
	return e.changeClaim(next)
}

func noClaim(subnet netip.Prefix) error {
	return catenet.NotFoundf("the subnet %s is neither a network's nor claimed", subnet)
}

func (e *Engine) keepClaim(c catenet.Claim) error {
	err := e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Put(kindClaim, c.Subnet.String(), c) })
	if err != nil {
		return fmt.Errorf("record claim of %s: %w", c.Subnet, err)
	}
	return nil
}

func (e *Engine) dropClaim(subnet netip.Prefix) error {
	err := e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Delete(kindClaim, subnet.String()) })
	if err != nil {
		return fmt.Errorf("forget claim of %s: %w", subnet, err)
	}
	return nil
}

// takeClaims ends the claims that a new network has taken.
func (e *Engine) takeClaims(n *network) {
	if !n.TakeClaims {
		return
	}
	e.leasing.Lock()
	defer e.leasing.Unlock()
	for _, p := range n.Pools {
		if e.claims[p.Subnet] != nil {
			e.locked(func() { delete(e.claims, p.Subnet) })
			e.report("take claim", n.Name, e.dropClaim(p.Subnet)) // else the next start does
		}
	}
}

// loadClaims reads the claims into the model. One that a network has taken, or of
// which nothing was handed out, nobody counts on.
func (e *Engine) loadClaims() error {
	all, err := store.Load[catenet.Claim](e.o.Store, store.Durable, kindClaim)
	if err != nil {
		return fmt.Errorf("read claims: %w", err)
	}
	for _, on := range all {
		taken := slices.ContainsFunc(e.neighbours(nil), func(n catenet.Network) bool {
			return slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet.Overlaps(on.Subnet) })
		})
		c, err := newClaim(on)
		if err != nil || taken || len(on.Leases) == 0 {
			e.report("forget claim", on.Subnet.String(), e.dropClaim(on.Subnet))
			continue
		}
		e.claims[on.Subnet] = c
	}
	return nil
}
