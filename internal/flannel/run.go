package flannel

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// A store that is away is asked again after soon, and then ever more rarely, up
// to late; each time some fifth more or less, so that a thousand nodes do not come
// back at once.
const soon, late = time.Second, 30 * time.Second

// Nodes often come together, and one judgement of all is cheaper than one of each:
// changes are told together that are no more than gap apart, for most at the most.
const gap, most = 5 * time.Millisecond, 100 * time.Millisecond

// Run keeps the part until ctx ends: it begins with the registry as it is (a full
// delta, once the store answers), and tells of changes, one call of tell at a time.
// An absent store is waited for. What the registry has of this node stays as it is
// when ctx ends: it is the same node's at its next start.
func (p *Part) Run(ctx context.Context, tell func(Delta)) {
	wait := soon
	for {
		listed, err := p.session(ctx, tell)
		if ctx.Err() != nil {
			return
		}
		if listed {
			wait = soon
		}
		pause := wait*4/5 + rand.N(wait*2/5)
		if errors.Is(err, etcd.ErrCompacted) || catenet.IsConflict(err) {
			p.node.Log.Info("the registry is read anew", "why", err)
			pause = rand.N(soon / 10)
		} else {
			p.report(err)
			wait = min(wait*2, late)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// session reads the registry and follows it, until the store is away or something
// was missed. It tells whether the registry was read.
func (p *Part) session(ctx context.Context, tell func(Delta)) (listed bool, err error) {
	revision, err := p.list(ctx)
	if err != nil {
		return false, err
	}
	p.missed(revision)
	if err := p.keep(ctx); err != nil {
		return false, err
	}
	p.tell(tell, true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := p.compare(ctx, revision); err != nil {
		return true, err
	}
	p.report(nil)
	watch := p.registry.Store.Watch(ctx, p.folder(), revision)
	for {
		err := p.await(ctx, watch)
		if err != nil || ctx.Err() != nil {
			return true, err
		}
		p.tell(tell, false)
	}
}

// await waits for the next change, or for the time to renew or to let a peer go.
func (p *Part) await(ctx context.Context, watch <-chan etcd.Batch) error {
	var renew <-chan time.Time
	if !p.claim.renew.IsZero() {
		renew = time.After(time.Until(p.claim.renew))
	}
	select {
	case <-ctx.Done():
		return nil
	case <-renew:
		return p.keep(ctx)
	case <-p.overdue():
		return nil
	case b := <-p.configs:
		return p.hear(b)
	case b, ok := <-watch:
		if !ok {
			return nil // ctx has ended
		}
		if err := p.gather(b, watch); err != nil {
			return err
		}
		return p.keep(ctx)
	}
}

// gather takes in a change, and others that come right behind it.
func (p *Part) gather(b etcd.Batch, watch <-chan etcd.Batch) error {
	end := time.After(most)
	for {
		if b.Err != nil {
			return b.Err
		}
		for _, e := range b.Events {
			p.follow(e)
		}
		var ok bool
		select {
		case b, ok = <-watch:
			if !ok {
				return nil // ctx has ended
			}
		case <-time.After(gap):
			return nil
		case <-end:
			return nil
		}
	}
}

// follow takes in one change.
func (p *Part) follow(e etcd.Event) {
	p.revision = max(p.revision, e.Revision)
	if e.Deleted {
		key := strings.TrimPrefix(e.Key, p.folder())
		delete(p.known, key)
		p.miss(key, moment)
		return
	}
	p.learn(e.Pair)
}

// tell says what has changed since it was told last, or all.
func (p *Part) tell(tell func(Delta), full bool) {
	own, told := p.own(), p.view.own
	now := viewOf(p.known, p.self())
	p.linger(now)
	d := now.delta(p.view)
	if full {
		d = now.delta(view{})
		d.Full = true
	}
	p.view = now
	p.sayRefused(now.refused)
	p.set(func(s *Status) {
		s.Peers, s.Refused = len(now.peers), nil
		for _, key := range slices.Sorted(maps.Keys(now.refused)) {
			s.Refused = append(s.Refused, Refusal{key, now.refused[key]})
		}
	})
	p.report(nil)
	if full || own != told || len(d.Add)+len(d.Remove) > 0 {
		tell(d)
	}
}

func (p *Part) sayRefused(refused map[string]string) {
	for key, reason := range refused {
		if p.said[key] != reason {
			p.node.Log.Warn("a node's record is no peer's", "key", key, "why", reason)
		}
	}
	p.said = refused
}

// report notes how the part is doing, and says so when that changes.
func (p *Part) report(err error) {
	err = cmp.Or(trouble(p.claim.rival, err), p.outdated)
	was := p.Status().Trouble
	p.set(func(s *Status) { s.Trouble = err })
	switch {
	case err == nil && was != nil:
		p.node.Log.Info("the flannel network is in order again", "was", was)
	case err != nil && (was == nil || was.Error() != err.Error()):
		p.node.Log.Warn("the flannel network is in trouble", "err", err)
	}
}
