package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/store"
)

// ownerLease has an address that is leased while no endpoint has it.
const ownerLease = "lease"

// LeaseAddress promises an address of a network's or a claimed subnet: l.Address,
// or if that is zero the next free one. Asked for once more, a lease that nobody
// holds yet gets its holder; one that another holds is a conflict. A lease that
// begins with its holder ends with ReleaseHolder.
func (e *Engine) LeaseAddress(_ context.Context, l catenet.Lease) (catenet.Lease, error) {
	e.leasing.Lock()
	defer e.leasing.Unlock()
	e.mu.Lock()
	n, pool := e.networkAt(l.Subnet)
	if n == nil {
		e.mu.Unlock()
		return e.leaseClaimed(l)
	}
	l, fresh, err := e.lease(n, pool, l)
	e.mu.Unlock()
	if err != nil {
		return l, err
	}
	if err := e.keepLease(n, l); err != nil {
		if fresh {
			e.locked(func() { e.giveBack(n, pool, ownerLease, l.Address) })
		}
		return l, err
	}
	e.locked(func() { n.leases[l.Address] = l })
	return l, nil
}

// lease takes the address of a lease, unless that is there already. e.mu is held.
func (e *Engine) lease(n *network, pool *ipam.Pool, l catenet.Lease) (_ catenet.Lease, fresh bool, err error) {
	if old, had := n.leases[l.Address]; had {
		if old.Holder != "" && old.Holder != l.Holder {
			return l, false, catenet.Conflictf("network %s: address %s is leased to endpoint %s", n.Name, l.Address, catenet.ShortID(old.Holder)).
				WithHint("ask for another one, or for none, to have one chosen")
		}
		l.Passing = old.Passing
		return l, false, nil
	}
	l.Address, err = e.request(n, pool, ownerLease, "", l.Address)
	l.Passing = l.Holder != ""
	return l, true, err
}

// ReleaseAddress ends a lease. An endpoint that has the address keeps it. One that
// is not there is no error.
func (e *Engine) ReleaseAddress(_ context.Context, subnet netip.Prefix, a netip.Addr) error {
	e.leasing.Lock()
	defer e.leasing.Unlock()
	var n *network
	e.locked(func() { n, _ = e.networkAt(subnet) })
	if n == nil {
		return e.releaseClaimed(subnet, a)
	}
	return e.endLease(n, a)
}

// ReleaseHolder tells that an endpoint is not to be any more: what was leased with
// it ends, and what was leased before is nobody's in particular again. An endpoint
// that is in a network holds its leases there.
func (e *Engine) ReleaseHolder(_ context.Context, holder string) error {
	e.leasing.Lock()
	defer e.leasing.Unlock()
	held := make(map[catenet.Lease]*network)
	e.locked(func() {
		for _, n := range e.networks {
			if _, in := n.members[holder]; in {
				continue
			}
			for _, l := range n.leases {
				if l.Holder == holder {
					held[l] = n
				}
			}
		}
	})
	var errs []error
	for l, n := range held {
		if l.Passing {
			errs = append(errs, e.endLease(n, l.Address))
			continue
		}
		l.Holder, l.MAC = "", ""
		err := e.keepLease(n, l)
		if err == nil {
			e.locked(func() { n.leases[l.Address] = l })
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Leases returns the leases of all networks.
func (e *Engine) Leases(context.Context) (all []catenet.Lease, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks {
		for _, l := range n.leases {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b catenet.Lease) int { return a.Address.Compare(b.Address) })
	return all, nil
}

// networkAt returns the network that has just this subnet. e.mu is held.
func (e *Engine) networkAt(subnet netip.Prefix) (*network, *ipam.Pool) {
	for _, n := range e.networks {
		for i, p := range n.Pools {
			if p.Subnet == subnet && n.ready && !n.removing && i < len(n.pools) {
				return n, n.pools[i]
			}
		}
	}
	return nil, nil
}

// leaseKey is the ID of a lease's record.
func leaseKey(networkID string, a netip.Addr) string { return networkID + " " + a.String() }

func (e *Engine) keepLease(n *network, l catenet.Lease) error {
	err := e.o.Store.Update(store.Live, func(tx *store.Tx) error { return tx.Put(kindLease, leaseKey(n.ID, l.Address), l) })
	if err != nil {
		return fmt.Errorf("record lease of %s: %w", l.Address, err)
	}
	return nil
}

// endLease ends a lease of a network. e.leasing is held.
func (e *Engine) endLease(n *network, a netip.Addr) error {
	err := e.o.Store.Update(store.Live, func(tx *store.Tx) error { return tx.Delete(kindLease, leaseKey(n.ID, a)) })
	if err != nil {
		return fmt.Errorf("forget lease of %s: %w", a, err)
	}
	e.locked(func() {
		pool := poolFor(n, a)
		if _, ok := n.leases[a]; !ok || pool == nil {
			return
		}
		delete(n.leases, a)
		if by, _ := pool.Owner(a); by == ownerLease {
			e.giveBack(n, pool, ownerLease, a)
		}
	})
	return nil
}

// unlease takes an address from its lease, for the endpoint that it is for. e.mu
// is held.
func (e *Engine) unlease(n *network, pool *ipam.Pool, holder string, a netip.Addr) {
	l, ok := n.leases[a]
	if by, _ := pool.Owner(a); ok && by == ownerLease && holder != "" && l.Holder == holder {
		e.report("take up lease", n.Name, pool.Release(ownerLease, a))
	}
}

// loadLeases reads the leases of all networks into the model; those of networks
// that are gone are forgotten.
func (e *Engine) loadLeases() error {
	all, err := store.Load[catenet.Lease](e.o.Store, store.Live, kindLease)
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	for key, l := range all {
		id, _, _ := strings.Cut(key, " ")
		n := e.networks[id]
		if n == nil {
			e.report("forget lease", key, e.o.Store.Update(store.Live, func(tx *store.Tx) error { return tx.Delete(kindLease, key) }))
			continue
		}
		if pool := poolFor(n, l.Address); pool != nil {
			n.leases[l.Address] = l
			e.report("take leased address again", n.Name, pool.Restore(ownerLease, l.Address))
		}
	}
	return nil
}
