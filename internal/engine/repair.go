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
	for {
		lost := make(map[kernel.Loss]bool)
		select {
		case l := <-losses:
			lost[l] = true
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

// repair puts back what is lost and still ours.
func (e *Engine) repair(ctx context.Context, lost map[kernel.Loss]bool) {
	all := lost[kernel.Loss{}]
	networks := make(map[string]*network)
	sandboxes := make(map[string]*sandbox)
	e.locked(func() {
		for id, n := range e.networks {
			for _, f := range n.state.Firewall {
				if n.ready && !n.removing && (all || lost[kernel.Loss{Link: f.Link}]) {
					networks[id] = n
				}
			}
		}
		for id, sb := range e.sandboxes {
			if sb.now == nil || sb.now.State != catenet.StateRunning || len(sb.now.Endpoints) == 0 {
				continue
			}
			hit := all || lost[kernel.Loss{Namespace: sb.now.Target.Inode}]
			for _, ep := range sb.now.Endpoints {
				// A bridge that went took its ports' places along.
				hit = hit || lost[kernel.Loss{Link: hostLink(ep)}] || networks[ep.NetworkID] != nil
			}
			if hit {
				sandboxes[id] = sb
			}
		}
	})
	for _, n := range networks {
		e.log.Warn("put back what network lost", "network", n.Name)
		if _, err := n.driver.Up(ctx, e.o.Host, n.Network); err != nil {
			e.log.Error("repair network", "network", n.Name, "err", err)
		}
		e.tell("network", "repair", n.ID, "name", n.Name)
	}
	for _, sb := range sandboxes {
		e.repairSandbox(ctx, sb)
		e.tell("sandbox", "repair", sb.id, "name", sb.name)
	}
}
