package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/store"
)

// RemoveNetwork removes a network that nobody is in, and returns what somebody
// should know about that.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) ([]string, error) {
	e.mu.Lock()
	n, err := e.network(ref)
	if err == nil {
		err = e.removable(n)
	}
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	n.removing = true
	e.mu.Unlock()
	return e.removeNetwork(ctx, n)
}

// removable says why a network cannot be removed, if so. e.mu is held.
func (e *Engine) removable(n *network) error {
	if n.Predefined {
		return catenet.Forbiddenf("network %s is predefined and cannot be removed", n.Name)
	}
	if from := e.madeFrom(n); len(from) > 0 {
		return catenet.Forbiddenf("config-only network %s is in use by %s", n.Name, strings.Join(from, ", ")).
			WithHint("catenet network rm %s first", strings.Join(from, " "))
	}
	if len(n.members) == 0 {
		return nil
	}
	return catenet.Forbiddenf("network %s has containers in it: %s", n.Name, strings.Join(e.memberNames(n), ", ")).
		WithHint("catenet network disconnect %s CONTAINER takes one out", n.Name)
}

// memberNames are the names of the containers in a network, sorted. e.mu is
// held.
func (e *Engine) memberNames(n *network) (names []string) {
	for _, id := range n.members {
		if sb := e.sandboxes[id]; sb != nil {
			names = append(names, sb.name)
		}
	}
	slices.Sort(names)
	return names
}

// removeNetwork removes a network marked as being removed: first on record,
// so that a crash in between ends in its being gone.
func (e *Engine) removeNetwork(ctx context.Context, n *network) (warnings []string, err error) {
	e.parted(n)
	n.op.Lock()
	defer n.op.Unlock()
	if n.handback, err = e.retire(n); err != nil {
		e.locked(func() { n.removing = false })
		e.keepSpan(n)
		return nil, fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	ctx = context.WithoutCancel(ctx)
	e.o.Names.RemoveNetwork(n.ID)
	err = e.takeDown(ctx, n)
	e.report("forget cursors and leases of network", n.Name, e.o.Store.Update(store.Live, func(tx *store.Tx) error {
		errs := []error{tx.Delete(kindCursor, n.ID), tx.Delete(kindMemory, n.ID)}
		for a := range n.leases {
			errs = append(errs, tx.Delete(kindLease, leaseKey(n.ID, a)))
		}
		return errors.Join(errs...)
	}))
	e.tell("network", "destroy", n.ID, "name", n.Name, "type", n.Driver)
	if err != nil {
		return nil, fmt.Errorf("remove network %s, which is tried on: %w", n.Name, err)
	}
	if n.handback != nil {
		warnings = e.awaitHandback(n.handback)
	}
	return warnings, nil
}

// retire takes a network off the record, and leaves what is to be given back of it;
// nil if nothing is.
func (e *Engine) retire(n *network) (p *handback, err error) {
	if n.Part != nil {
		p = &handback{Network: e.asItIs(n), Since: time.Now()}
	}
	return p, e.o.Store.Update(store.Durable, func(tx *store.Tx) error {
		err := tx.Delete(kindNetwork, n.ID)
		if p != nil {
			err = errors.Join(err, tx.Put(kindHandback, n.ID, p))
		}
		return err
	})
}

// takeDown takes a network that is on record no more out of the kernel, and then has
// its part given back. Its name and subnets are nobody else's until it is out. n.op is
// held.
func (e *Engine) takeDown(ctx context.Context, n *network) error {
	err := errors.Join(e.unguard(ctx, n), n.driver.Down(ctx, e.o.Host, n.Network))
	if err == nil && n.handback != nil {
		e.handBack(n.handback)
	}
	e.locked(func() {
		if n.lingers = err; err == nil {
			delete(e.networks, n.ID)
		}
	})
	return err
}

// takeDownAgain tries those once more that could not be.
func (e *Engine) takeDownAgain(ctx context.Context) {
	var left []*network
	e.locked(func() {
		for _, n := range e.networks {
			if n.lingers != nil {
				left = append(left, n)
			}
		}
	})
	for _, n := range left {
		n.op.Lock()
		err := e.takeDown(ctx, n)
		n.op.Unlock()
		if err == nil {
			e.log.Info("what was left of a removed network is gone", "network", n.Name)
		}
	}
}

// PruneNetworks removes the networks that nobody is in and f matches. Those
// that hold settings stay, as with Docker.
func (e *Engine) PruneNetworks(ctx context.Context, f catenet.Filter) ([]string, error) {
	var idle []*network
	e.locked(func() {
		for _, n := range e.networks {
			if n.ready && !n.removing && !n.ConfigOnly && e.removable(n) == nil && f.MatchNetwork(n.Network, false, time.Now()) {
				n.removing = true
				idle = append(idle, n)
			}
		}
		slices.SortFunc(idle, func(a, b *network) int { return strings.Compare(a.Name, b.Name) })
	})
	names := []string{}
	var errs []error
	for _, n := range idle {
		_, err := e.removeNetwork(ctx, n)
		if errs = append(errs, err); err == nil {
			names = append(names, n.Name)
		}
	}
	if len(names) > 0 {
		e.tell("network", "prune", "")
	}
	return names, errors.Join(errs...)
}
