package engine

import (
	"context"
	"fmt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Check compares a sandbox that runs with what the kernel has of it: its
// networks' links, its own, their shaping, addresses and routes, and the ports
// that it publishes. It changes nothing: what differs is a conflict error, and
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
	if err := e.look(kernel.Looking(ctx), now, ns); err != nil {
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
	return e.o.Firewall.Look(ctx)
}

// look compares the links of a sandbox and what is inside, by a context of
// kernel.Looking. sb.op is held.
func (e *Engine) look(ctx context.Context, now *record, ns *kernel.Namespace) error {
	var outfit kernel.Outfit
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
		att, err := n.driver.Link(ctx, e.o.Host, e.asItIs(n), ep, driver.Place{NS: ns})
		if err != nil {
			return fmt.Errorf("interface %s: %w", ep.Interface, err)
		}
		outfit.Interfaces = append(outfit.Interfaces, att.Interface)
	}
	if len(outfit.Interfaces) == 0 {
		return nil
	}
	return e.o.Host.Dress(ctx, ns, outfit)
}
