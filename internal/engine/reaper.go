package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
)

// gather is how long the reaper waits for company: removing many links in one
// batch costs hardly more than removing one (an RCU grace period).
const gather = 5 * time.Millisecond

// reaper removes the links of endpoints that are gone already for everybody
// else. Whoever wants to reuse an address or namespace settles first.
type reaper struct {
	ctx    context.Context
	log    *slog.Logger
	unlink func(ctx context.Context, eps []catenet.Endpoint) error
	done   sync.WaitGroup

	mu      sync.Mutex
	waiting *batch             // guarded by mu; nil if none
	atWork  *batch             // guarded by mu; nil if none
	running bool               // guarded by mu: work is
	failed  []catenet.Endpoint // guarded by mu: whose links could not be removed
}

// batch is links that go together.
type batch struct {
	eps    []catenet.Endpoint
	busy   map[netip.Addr]struct{} // their addresses
	rooms  map[uint64]struct{}     // the namespaces they are in, by inode
	buried chan struct{}           // closed when they are gone
}

func newReaper(ctx context.Context, log *slog.Logger, unlink func(context.Context, []catenet.Endpoint) error) *reaper {
	return &reaper{ctx: ctx, log: log, unlink: unlink}
}

// bury takes endpoints of one namespace whose links are to go.
func (r *reaper) bury(room uint64, eps []catenet.Endpoint) {
	if len(eps) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = &batch{busy: make(map[netip.Addr]struct{}), rooms: make(map[uint64]struct{}), buried: make(chan struct{})}
	}
	b := r.waiting
	b.eps = append(b.eps, eps...)
	b.rooms[room] = struct{}{}
	for _, ep := range eps {
		b.busy[ep.IPv4.Addr()] = struct{}{}
		b.busy[ep.IPv6.Addr()] = struct{}{}
	}
	delete(b.busy, netip.Addr{})
	delete(b.rooms, 0) // nobody knows which
	if !r.running {
		r.running = true
		r.done.Add(1)
		go r.work()
	}
}

// work buries batches until nothing waits.
func (r *reaper) work() {
	defer r.done.Done()
	for {
		select {
		case <-time.After(gather):
		case <-r.ctx.Done():
		}
		r.mu.Lock()
		b := r.waiting
		r.waiting, r.atWork = nil, b
		r.mu.Unlock()
		var failed []catenet.Endpoint
		// A batch at work is finished even when the engine closes.
		if err := r.unlink(context.WithoutCancel(r.ctx), b.eps); err != nil {
			r.log.Error("remove links; trying on", "links", len(b.eps), "err", err)
			failed = b.eps
		}
		r.mu.Lock()
		r.failed = append(r.failed, failed...)
		close(b.buried)
		r.atWork = nil
		r.running = r.waiting != nil
		more := r.running
		r.mu.Unlock()
		if !more {
			return
		}
	}
}

// again buries those once more whose links could not be removed.
func (r *reaper) again() {
	r.mu.Lock()
	failed := r.failed
	r.failed = nil
	r.mu.Unlock()
	r.bury(0, failed)
}

// settle waits until no link is left that has one of the addresses or is in
// the namespace of that inode.
func (r *reaper) settle(ctx context.Context, addrs []netip.Addr, room uint64) error {
	var clashing []*batch
	r.mu.Lock()
	for _, b := range []*batch{r.atWork, r.waiting} {
		if b != nil && b.clashes(addrs, room) {
			clashing = append(clashing, b)
		}
	}
	r.mu.Unlock()
	for _, b := range clashing {
		select {
		case <-b.buried:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// clashes reports whether one of a batch's links has one of the addresses or
// is in a namespace. The reaper's mu is held.
func (b *batch) clashes(addrs []netip.Addr, room uint64) bool {
	for _, a := range addrs {
		if _, ok := b.busy[a]; ok {
			return true
		}
	}
	_, ok := b.rooms[room]
	return ok
}

// wait waits until everything is buried.
func (r *reaper) wait() { r.done.Wait() }

// unlink has each driver remove the links of its endpoints. A network that is
// gone already took its driver with it, so the endpoints carry enough: what
// the links are called.
func (e *Engine) unlink(ctx context.Context, at driver.Place, eps ...catenet.Endpoint) error {
	byNetwork := make(map[string][]catenet.Endpoint)
	for _, ep := range eps {
		byNetwork[ep.NetworkID] = append(byNetwork[ep.NetworkID], ep)
	}
	var errs []error
	for id, eps := range byNetwork {
		var d driver.Driver = absent{}
		var on catenet.Network
		e.locked(func() {
			if n := e.networks[id]; n != nil {
				d, on = n.driver, n.Network
			}
		})
		errs = append(errs, d.Unlink(ctx, e.o.Host, on, at, eps...))
	}
	return errors.Join(errs...)
}
