package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// lastGrace is how long Withdraw waits for containers to end when they are
// asked to, and again when they are made to.
const lastGrace = 10 * time.Second

// Withdraw takes away all that a daemon left on this host, in place of
// Restore: containers are ended, namespaces are left as they were found, and
// every link, route, pin and folder of ours goes. The firewall is not the engine's.
// What outlives the machine stays on record: the next start makes the networks
// again, and knows the containers as ended.
func (e *Engine) Withdraw(ctx context.Context) error {
	entries, err := store.Load[sandboxEntry](e.o.Store, store.Live, kindSandbox)
	if err != nil {
		return fmt.Errorf("read sandboxes: %w", err)
	}
	var running []*record
	for _, entry := range entries {
		if now := entry.Now; now != nil && now.Owner == catenet.OwnerRun {
			running = append(running, now)
		}
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	oneDone := e.counted("ending containers", len(running))
	for _, now := range running {
		wg.Go(func() {
			defer oneDone()
			if err := e.endLast(ctx, now); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("end container %s: %w", now.Name, err))
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return errors.Join(errs...) // and their links stay with them
	}
	for id, entry := range entries {
		e.abandon(ctx, id, entry)
	}
	return errors.Join(e.sweepLinks(ctx), e.sweep(ctx), e.sweepReach(ctx))
}

// endLast ends a container that nobody watches any more.
func (e *Engine) endLast(ctx context.Context, now *record) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := e.o.Processes.Signal(ctx, e.processDir(now.ID), sig); err != nil {
			return err
		}
		exit, err := e.waitFor(ctx, now)
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		return e.keepContainer(stopped(now, exit))
	}
	return catenet.Errorf(catenet.KindUnavailable, "it does not end")
}

func (e *Engine) waitFor(ctx context.Context, now *record) (kernel.Exit, error) {
	ctx, cancel := context.WithTimeout(ctx, lastGrace)
	defer cancel()
	return e.o.Processes.Wait(ctx, e.processDir(now.ID))
}
