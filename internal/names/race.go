package names

import (
	"context"
	"sync"
	"time"
)

// attempt is how asking one server once ended.
type attempt struct {
	by    *upstream
	reply *reply
	err   error
}

// failed reports whether another server may do better: this one could not be
// asked, or says that it cannot or will not (SERVFAIL, REFUSED, and the like).
func (a attempt) failed() bool {
	return a.err != nil || a.reply.rcode != rcodeOK && a.reply.rcode != rcodeNXDomain
}

// race asks the servers one after the other, each a hedge behind the one
// before or as soon as that has failed, and takes the first good answer. It
// returns a refusal only if no server has anything better.
func (f *forwarder) race(ctx context.Context, s *upstreams, q *query) (*reply, error) {
	r := &race{f: f, q: q, order: s.order(time.Now()), results: make(chan attempt), over: make(chan struct{})}
	r.asked = make([]time.Time, len(r.order))
	r.out = make([]bool, len(r.order))
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		close(r.over)
		r.running.Wait()
	}()
	return r.run(ctx)
}

// race is the state of one race; its fields belong to the goroutine of run.
type race struct {
	f       *forwarder
	q       *query
	order   []*upstream
	asked   []time.Time // when each was asked first
	out     []bool      // has failed for good
	round   int
	next    int // index in order of who is asked next
	results chan attempt
	over    chan struct{}
	running sync.WaitGroup
	refusal *reply
	err     error
}

func (r *race) run(ctx context.Context) (*reply, error) {
	timer := time.NewTimer(r.ask(ctx))
	defer timer.Stop()
	for {
		select {
		case a := <-r.results:
			if !a.failed() {
				r.won(a.by)
				return a.reply, nil
			}
			r.lost(a)
			if r.allOut() {
				return r.give()
			}
			if r.round == 0 && r.next < len(r.order) {
				timer.Reset(r.ask(ctx))
			}
		case <-timer.C:
			timer.Reset(r.ask(ctx))
		case <-ctx.Done():
			r.timedOut()
			return r.give()
		}
	}
}

// ask asks the next server that is still in and returns how long to wait
// before the one after it.
func (r *race) ask(ctx context.Context) time.Duration {
	for r.round < rounds {
		i, last := r.next, r.next == len(r.order)-1
		skip := r.out[i] || r.order[i].reserve && r.round == 0 && !r.allBefore(i)
		if r.next++; last {
			r.round, r.next = r.round+1, 0
		}
		if !skip {
			r.start(ctx, i)
		}
		if last {
			return again
		}
		if !skip {
			return hedge
		}
	}
	return patience
}

// allBefore reports whether all servers before i are out.
func (r *race) allBefore(i int) bool {
	for _, out := range r.out[:i] {
		if !out {
			return false
		}
	}
	return true
}

func (r *race) allOut() bool { return r.allBefore(len(r.out)) }

func (r *race) start(ctx context.Context, i int) {
	u := r.order[i]
	if r.asked[i].IsZero() {
		r.asked[i] = time.Now()
	}
	r.running.Go(func() {
		reply, err := r.f.ask(ctx, u.addr, r.q)
		select {
		case r.results <- attempt{u, reply, err}:
		case <-r.over:
		}
	})
}

// won notes that u was the quickest: whoever has been silent for longer than
// a hedge is asked later for a while.
func (r *race) won(u *upstream) {
	u.promote()
	now := time.Now()
	for i, other := range r.order {
		if other != u && !r.out[i] && !r.asked[i].IsZero() && now.Sub(r.asked[i]) >= hedge {
			other.demote(now)
		}
	}
}

// lost notes a failure. A server that cannot be reached is asked later for a
// while; one that refuses this question may be right for the next.
func (r *race) lost(a attempt) {
	for i, u := range r.order {
		if u == a.by {
			r.out[i] = true
		}
	}
	if a.err != nil {
		r.err = a.err
		a.by.demote(time.Now())
		return
	}
	r.refusal = a.reply
}

// timedOut notes the silence of those that are still in.
func (r *race) timedOut() {
	now := time.Now()
	for i, u := range r.order {
		if !r.out[i] && !r.asked[i].IsZero() && now.Sub(r.asked[i]) >= hedge {
			u.demote(now)
		}
	}
	if r.err == nil {
		r.err = errNoAnswer
	}
}

func (r *race) give() (*reply, error) {
	if r.refusal != nil {
		return r.refusal, nil
	}
	return nil, r.err
}
