package engine

import (
	"context"
	"fmt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Check compares a sandbox that runs with what the kernel has of it: its
// networks' links, its own, their shaping, addresses and routes, the redirect of
// its lookups, and the ports that it publishes, on loopback addresses too. It changes nothing: what differs is a conflict error, and
// the repair's to put back.
func (e *Engine) Check(ctx context.Context, ref string) error {
	sb, now, err := e.lockSandbox(ref)
	if err != nil {
		return err
	}
	defer sb.op.Unlock()
	if now.State != catenet.StateRunning {
		return catenet.Conflictf("container %s does not run", now.Name)
	}
	if !now.networked() {
		return nil
	}
	ns, err := e.open(now)
	if err != nil {
		return err
	}
	defer ns.Close()
	looking := kernel.Looking(ctx)
	if err := e.look(looking, now, ns); err != nil {
		return fmt.Errorf("container %s: %w", now.Name, err)
	}
	e.mu.Lock()
	unheld := e.unheld[sb.id]
	e.mu.Unlock()
	if len(unheld) > 0 {
		return catenet.Conflictf("container %s: somebody else holds its port %s", now.Name, unheld[0])
	}
	if len(now.Bindings) == 0 {
		return nil
	}
	if err := e.o.Firewall.Look(ctx); err != nil {
		return err
	}
	return e.o.Loopback.Set(looking, now.loopbackPorts(), nil)
}

// look compares the links of a sandbox and what is inside, by a context of
// kernel.Looking. What whoever made a parked one has inside is his. sb.op is held.
func (e *Engine) look(ctx context.Context, now *record, ns *kernel.Namespace) error {
	at, outfit := ns, now.lookups()
	if now.Parked {
		at = nil
	}
	for _, ep := range now.Endpoints {
		e.mu.Lock()
		n := e.networks[ep.NetworkID]
		e.mu.Unlock()
		if n == nil {
			return catenet.NotFoundf("network %s is gone", ep.Spec.Network)
		}
		if _, err := n.driver.Up(ctx, e.o.Host, e.asItIs(n)); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
		att, err := n.driver.Link(ctx, e.o.Host, e.asItIs(n), ep, driver.Place{NS: at})
		if err != nil {
			return fmt.Errorf("interface %s: %w", ep.Interface, err)
		}
		if at != nil {
			outfit.Interfaces = append(outfit.Interfaces, att.Interface)
		}
	}
	if ns == nil { // still to come
		return nil
	}
	return e.o.Host.Dress(ctx, ns, outfit)
}
