package engine

import (
	"context"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// watch waits beside the engine for a sandbox's end: of its program, or of
// the process or path that its namespace was attached by. sb.op is held.
func (e *Engine) watch(sb *sandbox, r *record) {
	ctx, cancel := context.WithCancel(e.ctx)
	sb.unwatch = cancel
	if r.Owner == catenet.OwnerRun {
		e.goTask(func(context.Context) {
			defer cancel()
			exit, err := e.o.Processes.Wait(ctx, e.processDir(r.ID))
			for catenet.KindOf(err) == catenet.KindExhausted && ctx.Err() == nil {
				e.log.Error("watch container; trying again", "container", r.Name, "err", err, "hint", catenet.HintOf(err))
				sleep(ctx, rewatch)
				exit, err = e.o.Processes.Wait(ctx, e.processDir(r.ID))
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				e.log.Error("wait for container; it counts as ended", "container", r.Name, "err", err)
				exit = kernel.Exit{Code: lostExit, Finished: time.Now()}
			}
			e.exited(sb, exit)
		})
		return
	}
	if r.expected() {
		e.goTask(func(context.Context) {
			defer cancel()
			e.await(ctx, sb, r)
		})
		return
	}
	e.goTask(func(context.Context) {
		defer cancel()
		for {
			err := e.o.Namespaces.Gone(ctx, r.Target)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				break
			}
			e.log.Error("watch namespace; trying again", "container", r.Name, "err", err)
			sleep(ctx, rewatch)
		}
		e.vanished(sb)
	})
}

// vanished takes down an attached sandbox whose namespace went.
func (e *Engine) vanished(sb *sandbox) {
	sb.op.Lock()
	defer sb.op.Unlock()
	e.mu.Lock()
	now := sb.now
	e.mu.Unlock()
	if now == nil {
		return
	}
	e.log.Info("namespace went", "container", now.Name, "path", now.Target.Path)
	e.report("detach", now.Name, e.detach(context.WithoutCancel(e.ctx), sb, now))
}
