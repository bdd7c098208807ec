package engine

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
)

// Connect joins a sandbox to one more network. A container that does not run
// joins at its next start.
func (e *Engine) Connect(ctx context.Context, network, ref string, spec catenet.EndpointSpec) (ep catenet.Endpoint, err error) {
	sb, now, err := e.lockSandbox(ref)
	if err != nil {
		return ep, err
	}
	defer sb.op.Unlock()
	if err := joinable(now, network, spec); err != nil {
		return ep, err
	}
	n, name, err := e.named(network)
	if err != nil {
		return ep, err
	}
	if _, mode := n.driver.(driver.Mode); mode {
		return ep, catenet.Forbiddenf("network %s cannot be joined beside others", name).WithHint("it is a mode: run --network %s", name)
	}
	spec.Network = name
	specs := []catenet.EndpointSpec{spec}
	if err := e.aimLinks(sb, specs); err != nil {
		return ep, err
	}
	defer e.locked(func() { sb.aims = nil })
	spec = specs[0]
	next := now.clone()
	next.Networks = append(next.Networks, spec)
	if now.State != catenet.StateRunning {
		return ep, e.connectLater(sb, now, next, n, spec)
	}
	if err := e.checkLinks(now.Name, specs); err != nil {
		return ep, err
	}
	var u undo
	defer u.unless(&err)
	if err = e.plan(now, next, specs, &u); err != nil {
		return ep, err
	}
	if err = e.keepAhead(now, next, &u); err != nil {
		return ep, err
	}
	if err = e.transition(ctx, sb, now, next); err != nil {
		return ep, err
	}
	e.tellJoined(now, next)
	ep, _ = next.endpoint(n.ID)
	return ep, nil
}

// keepAhead is keepContainer before anything is touched: a disk that takes
// nothing then refuses the change as a whole.
func (e *Engine) keepAhead(now, next *record, u *undo) error {
	if err := e.keepContainer(next); err != nil {
		return err
	}
	u.add(func() { e.report("take back change of container", now.Name, e.keepContainer(now)) })
	return nil
}

// joinable says why a sandbox cannot join a network, if so.
func joinable(r *record, network string, spec catenet.EndpointSpec) error {
	if r.Parked && spec.ID == "" { // nobody would take the link in
		return catenet.Forbiddenf("container %s is furnished by its own runtime (%s), which alone can join it to network %s", r.Name, r.Owner, network).
			WithHint("connect it with that runtime's command")
	}
	if !r.networked() {
		return catenet.Forbiddenf("container %s is in mode %q and cannot join network %s", r.Name, r.Mode, network).
			WithHint("run it with --network %s instead", network)
	}
	return nil
}

// connectLater adds a network to a container that does not run. sb.op is
// held.
func (e *Engine) connectLater(sb *sandbox, now, next *record, n *network, spec catenet.EndpointSpec) (err error) {
	if err := checkEndpoint(spec); err != nil {
		return err
	}
	if err := checkAlone(now.Name, spec, now.Networks); err != nil {
		return err
	}
	if err := n.driver.ValidateEndpoint(e.asItIs(n), spec); err != nil {
		return err
	}
	var u undo
	defer u.unless(&err)
	if err = e.reserve(next, spec, &u); err != nil {
		return err
	}
	if err = e.keepContainer(next); err != nil {
		return err
	}
	e.locked(func() { sb.now = next })
	return nil
}
