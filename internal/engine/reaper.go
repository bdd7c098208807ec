package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/catenet/catenet"
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
	waiting []catenet.Endpoint      // guarded by mu
	running chan struct{}           // guarded by mu; closed when the batch at work is done, nil if none
	busy    map[netip.Addr]struct{} // guarded by mu: addresses of links that still exist
	rooms   map[string]struct{}     // guarded by mu: sandboxes whose links still exist
}

func newReaper(ctx context.Context, log *slog.Logger, unlink func(context.Context, []catenet.Endpoint) error) *reaper {
	return &reaper{ctx: ctx, log: log, unlink: unlink,
		busy: make(map[netip.Addr]struct{}), rooms: make(map[string]struct{})}
}

// bury takes endpoints whose links are to go.
func (r *reaper) bury(eps []catenet.Endpoint) {
	if len(eps) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, eps...)
	for _, ep := range eps {
		r.busy[ep.IPv4.Addr()] = struct{}{}
		r.busy[ep.IPv6.Addr()] = struct{}{}
		r.rooms[ep.SandboxID] = struct{}{}
	}
	delete(r.busy, netip.Addr{})
	if r.running == nil {
		r.running = make(chan struct{})
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
		batch := r.waiting
		r.waiting = nil
		r.mu.Unlock()
		// A batch at work is finished even when the engine closes.
		if err := r.unlink(context.WithoutCancel(r.ctx), batch); err != nil {
			r.log.Error("remove links; the next start will", "links", len(batch), "err", err)
		}
		r.mu.Lock()
		if len(r.waiting) == 0 {
			clear(r.busy)
			clear(r.rooms)
			close(r.running)
			r.running = nil
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// settle waits until no link is left that has one of the addresses or is in
// one of the sandboxes.
func (r *reaper) settle(ctx context.Context, addrs []netip.Addr, sandboxes ...string) error {
	r.mu.Lock()
	wait := r.running
	needed := false
	for _, a := range addrs {
		if _, ok := r.busy[a]; ok {
			needed = true
		}
	}
	for _, s := range sandboxes {
		if _, ok := r.rooms[s]; ok {
			needed = true
		}
	}
	r.mu.Unlock()
	if wait == nil || !needed {
		return nil
	}
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits until everything is buried.
func (r *reaper) wait() { r.done.Wait() }

// unlink has each driver remove the links of its endpoints. A network that is
// gone already took its driver with it, so the endpoints carry enough: the
// links' names follow from the IDs.
func (e *Engine) unlink(ctx context.Context, eps []catenet.Endpoint) error {
	byNetwork := make(map[string][]catenet.Endpoint)
	for _, ep := range eps {
		byNetwork[ep.NetworkID] = append(byNetwork[ep.NetworkID], ep)
	}
	var err error
	for id, eps := range byNetwork {
		e.mu.Lock()
		n := e.networks[id]
		e.mu.Unlock()
		if n != nil {
			err = firstError(err, n.driver.Unlink(ctx, e.o.Host, n.Network, eps...))
			continue
		}
		links := make([]string, len(eps))
		for i, ep := range eps {
			links[i] = hostLink(ep)
		}
		err = firstError(err, e.o.Host.DeleteLinks(ctx, links...))
	}
	return err
}
