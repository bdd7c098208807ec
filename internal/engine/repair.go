package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// calm is how long after a loss the repair begins: losses come in swarms, and
// what we remove ourselves is told to us as well.
const calm = 20 * time.Millisecond

// rewatch is how long to wait before watching again after the watch failed, and
// before a network of several hosts is kept again after its driver failed.
const rewatch = time.Second

// insist is how often what could not be brought up or repaired is tried
// again: nothing tells when whatever is in the way goes. A sandbox that goes
// on failing is tried after twice the time, up to patience.
const (
	insist   = 5 * time.Second
	patience = time.Minute
)

// keepTrue puts back what somebody else takes away, as long as the engine
// lives.
func (e *Engine) keepTrue(ctx context.Context) {
	losses := make(chan kernel.Loss, 1024)
	e.goTask(func(ctx context.Context) {
		for ctx.Err() == nil {
			err := e.o.Host.Watch(ctx, func(l kernel.Loss) {
				select {
				case losses <- l:
				default: // a swarm: the repair at work looks at everything
				}
			})
			if ctx.Err() == nil {
				e.log.Error("watch links; trying again", "err", err)
				sleep(ctx, rewatch)
			}
		}
	})
	again := time.NewTicker(insist)
	defer again.Stop()
	for {
		lost := make(map[kernel.Loss]bool)
		select {
		case l := <-losses:
			lost[l] = true
		case <-again.C:
			e.reaper.again()
			e.takeDownAgain(ctx)
			e.repair(ctx, nil)
			e.renewFiles()
			continue
		case <-ctx.Done():
			return
		}
		sleep(ctx, calm)
		for more := true; more; {
			select {
			case l := <-losses:
				lost[l] = true
			default:
				more = false
			}
		}
		e.repair(ctx, lost)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// repair puts back what is lost and still ours, and tries again what could
// not be brought up or repaired so far.
func (e *Engine) repair(ctx context.Context, lost map[kernel.Loss]bool) {
	raised := make(map[string]bool)
	for _, n := range e.lostNetworks(lost) {
		raised[n.ID] = e.raise(ctx, n)
	}
	for _, sb := range e.lostSandboxes(lost, raised) {
		var wrote atomic.Uint64
		e.repairSandbox(kernel.CountWrites(ctx, &wrote), sb)
		if wrote.Load() > 0 {
			var name string
			e.locked(func() { name = sb.name })
			e.log.Warn("put back what container's network lost", "container", name)
			e.tell("sandbox", "repair", sb.id, "name", name)
		}
	}
}

// lostNetworks are the networks that a loss may be of, and those that are
// down.
func (e *Engine) lostNetworks(lost map[kernel.Loss]bool) (out []*network) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks {
		hit := n.down != nil || n.state.Trouble != nil
		for _, f := range n.state.Firewall {
			hit = hit || lost[kernel.Loss{}] || lost[kernel.Loss{Link: f.Link}] || len(f.Span) > 0 && lost[kernel.Loss{Reach: true}]
		}
		for _, l := range n.state.Links {
			hit = hit || lost[kernel.Loss{Link: l}]
		}
		if hit && n.ready && !n.removing {
			out = append(out, n)
		}
	}
	return out
}

// lostSandboxes are the sandboxes that a loss may be of, those in networks
// that were brought up again (a bridge that went took its ports' places
// along), and those whose repair failed and is due once more.
func (e *Engine) lostSandboxes(lost map[kernel.Loss]bool, raised map[string]bool) (out []*sandbox) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sb := range e.sandboxes {
		if sb.now == nil || sb.now.State != catenet.StateRunning || len(sb.now.Endpoints) == 0 && sb.ailment == nil {
			continue
		}
		hit := lost[kernel.Loss{}] || lost[kernel.Loss{Namespace: sb.now.Target.Inode}] || sb.ailment.due(time.Now())
		for _, ep := range sb.now.Endpoints {
			hit = hit || lost[kernel.Loss{Link: hostLink(ep)}] || lost[kernel.Loss{Link: driver.ShaperName(ep.ID)}] || raised[ep.NetworkID]
		}
		if hit {
			out = append(out, sb)
		}
	}
	return out
}

// raise brings up a network that may have lost something, and reports whether
// it is up.
func (e *Engine) raise(ctx context.Context, n *network) bool {
	n.op.Lock()
	defer n.op.Unlock()
	removing := false
	e.locked(func() { removing = n.removing })
	if removing {
		return false
	}
	var wrote atomic.Uint64
	state, err := n.driver.Up(kernel.CountWrites(ctx, &wrote), e.o.Host, n.Network)
	if err == nil {
		err = e.settle(ctx, n, state)
	}
	var was error
	e.locked(func() { was, n.down = n.down, err; n.searched() })
	if err != nil {
		if was == nil {
			e.log.Error("repair network; trying on", "network", n.Name, "err", err)
		}
		return false
	}
	if wrote.Load() > 0 {
		e.log.Warn("put back what network lost", "network", n.Name)
		e.tell("network", "repair", n.ID, "name", n.Name)
	}
	return true
}

// ailment is why a sandbox could not be repaired, and when that is tried
// again.
type ailment struct {
	why  string
	told bool // in the log
	wait time.Duration
	next time.Time
}

// due reports whether it is time to try again.
func (a *ailment) due(now time.Time) bool { return a != nil && !now.Before(a.next) }

// ail notes how a sandbox's repair went, and tells it once for each error.
// sb.op is held.
func (e *Engine) ail(sb *sandbox, now *record, err error) {
	e.mu.Lock()
	was := sb.ailment
	sb.ailment = nil
	if err != nil {
		a := &ailment{why: err.Error(), wait: insist}
		if was != nil {
			a.told, a.wait = was.told && was.why == a.why, min(2*was.wait, patience)
		}
		a.next = time.Now().Add(a.wait)
		sb.ailment = a
	}
	is := sb.ailment
	e.mu.Unlock()
	switch {
	case is == nil && was != nil && was.told:
		e.log.Info("container's network is right again", "container", now.Name)
	case is == nil || is.told:
	case was == nil && now.Owner == catenet.OwnerRun && catenet.IsNotFound(err):
		// Most likely its namespace went with its process, and the watcher
		// will say so.
	default:
		is.told = true
		e.log.Error("make container's network right again; trying on", "container", now.Name, "err", err)
	}
}
