package names

import (
	"context"
	"slices"
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
//
// Servers may know different names: often the first listed is a company's or
// a VPN's, and another a public one. So a "no such name" counts only from a
// server that all those listed before it leave the word to: by failing, or by
// saying nothing for as long as doubt.
func (f *forwarder) race(ctx context.Context, s *upstreams, q *query) (*reply, error) {
	r := &race{f: f, q: q, listed: s.list, order: s.order(time.Now()), results: make(chan attempt), over: make(chan struct{})}
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
	listed  []*upstream // as configured
	order   []*upstream // as they are asked
	asked   []time.Time // when each was asked first
	out     []bool      // has failed for good
	round   int
	next    int // index in order of who is asked next
	results chan attempt
	over    chan struct{}
	running sync.WaitGroup
	refusal *reply
	no      *attempt // no such name, says the first listed of those that say so
	err     error
}

func (r *race) run(ctx context.Context) (*reply, error) {
	timer := time.NewTimer(r.ask(ctx))
	defer timer.Stop()
	var doubted <-chan time.Time
	for {
		select {
		case a := <-r.results:
			switch {
			case a.failed():
				r.lost(a)
			case a.reply.rcode == rcodeOK:
				r.won(a.by)
				return a.reply, nil
			case r.hear(a):
				doubted = time.After(r.insist(ctx))
			}
			if r.no != nil && len(r.above(r.no.by)) == 0 {
				r.won(r.no.by)
				return r.give()
			}
			if r.allOut() {
				return r.give()
			}
			if r.no == nil && r.round == 0 && r.next < len(r.order) {
				timer.Reset(r.ask(ctx))
			}
		case <-timer.C:
			timer.Reset(r.ask(ctx))
		case <-doubted:
			r.ignored()
			return r.give()
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
		skip := r.out[i] || r.round == 0 && !r.asked[i].IsZero() || r.order[i].reserve && r.round == 0 && !r.allBefore(i)
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
		reply, err := r.f.ask(ctx, u, r.q)
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
			u.silence(now)
		}
	}
	if r.err == nil {
		r.err = errNoAnswer
	}
}

// hear takes a "no such name" and reports whether it is that which counts now.
func (r *race) hear(a attempt) bool {
	for i, u := range r.order {
		if u == a.by {
			r.out[i] = true // it has said its word
		}
	}
	if r.no != nil && slices.Index(r.listed, a.by) >= slices.Index(r.listed, r.no.by) {
		return false
	}
	r.no = &a
	return true
}

// above are the servers listed before u that still may know more, as indexes
// in order.
func (r *race) above(u *upstream) (all []int) {
	now := time.Now()
	for i, other := range r.order {
		before := slices.Index(r.listed, other) < slices.Index(r.listed, u)
		if before && !r.out[i] && !other.silent(now) && (!other.reserve || !r.asked[i].IsZero()) {
			all = append(all, i)
		}
	}
	return all
}

// insist asks those whose word counts more than the "no" that has come, and
// returns how long to wait for it.
func (r *race) insist(ctx context.Context) (wait time.Duration) {
	for _, i := range r.above(r.no.by) {
		if r.asked[i].IsZero() {
			r.start(ctx, i)
		}
		wait = max(wait, doubt-time.Since(r.asked[i]))
	}
	return wait
}

// ignored notes those that were waited for in vain. The "no" that is believed
// now is not kept for longer than their silence.
func (r *race) ignored() {
	now := time.Now()
	for _, i := range r.above(r.no.by) {
		r.order[i].demote(now)
		r.order[i].silence(now)
	}
}

func (r *race) give() (*reply, error) {
	if r.no != nil {
		if r.no.by != r.listed[0] {
			r.no.reply.ttl = min(r.no.reply.ttl, uint32(demotion/time.Second))
		}
		return r.no.reply, nil
	}
	if r.refusal != nil {
		return r.refusal, nil
	}
	return nil, r.err
}
