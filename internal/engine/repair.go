package engine

import (
	"context"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// calm is how long after a loss the repair begins: losses come in swarms, and
// what we remove ourselves is told to us as well.
const calm = 20 * time.Millisecond

// rewatch is how long to wait before watching again after the watch failed.
const rewatch = time.Second

// insist is how often what could not be brought up is tried again: nothing
// tells when whatever is in the way goes.
const insist = 5 * time.Second

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
			e.repair(ctx, nil)
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

// repair puts back what is lost and still ours, and brings up networks that
// could not be so far.
func (e *Engine) repair(ctx context.Context, lost map[kernel.Loss]bool) {
	raised := make(map[string]bool)
	for _, n := range e.lostNetworks(lost) {
		raised[n.ID] = e.raise(ctx, n)
	}
	for _, sb := range e.lostSandboxes(lost, raised) {
		before := e.o.Host.Writes()
		e.repairSandbox(ctx, sb)
		if e.o.Host.Writes() != before {
			e.log.Warn("put back what container's network lost", "container", sb.name)
			e.tell("sandbox", "repair", sb.id, "name", sb.name)
		}
	}
}

// lostNetworks are the networks that a loss may be of, and those that are
// down.
func (e *Engine) lostNetworks(lost map[kernel.Loss]bool) (out []*network) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks {
		hit := n.down != nil
		for _, f := range n.state.Firewall {
			hit = hit || lost[kernel.Loss{}] || lost[kernel.Loss{Link: f.Link}]
		}
		if hit && n.ready && !n.removing {
			out = append(out, n)
		}
	}
	return out
}

// lostSandboxes are the sandboxes that a loss may be of, and those in networks
// that were brought up again: a bridge that went took its ports' places along.
func (e *Engine) lostSandboxes(lost map[kernel.Loss]bool, raised map[string]bool) (out []*sandbox) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sb := range e.sandboxes {
		if sb.now == nil || sb.now.State != catenet.StateRunning || len(sb.now.Endpoints) == 0 {
			continue
		}
		hit := lost[kernel.Loss{}] || lost[kernel.Loss{Namespace: sb.now.Target.Inode}]
		for _, ep := range sb.now.Endpoints {
			hit = hit || lost[kernel.Loss{Link: hostLink(ep)}] || raised[ep.NetworkID]
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
	before := e.o.Host.Writes()
	_, err := n.driver.Up(ctx, e.o.Host, n.Network)
	var was error
	e.locked(func() { was, n.down = n.down, err })
	if err != nil {
		if was == nil {
			e.log.Error("repair network; trying on", "network", n.Name, "err", err)
		}
		return false
	}
	if e.o.Host.Writes() != before {
		e.log.Warn("put back what network lost", "network", n.Name)
		e.tell("network", "repair", n.ID, "name", n.Name)
	}
	return true
}
