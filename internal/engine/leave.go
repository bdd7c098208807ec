package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/catenet/catenet"
)

// Disconnect takes a sandbox out of a network. With force a sandbox that is
// not in it is no error, and nor is one that its own runtime furnishes.
func (e *Engine) Disconnect(ctx context.Context, network, ref string, force bool) error {
	_, _, missing := e.named(network)
	sb, now, err := e.lockSandbox(ref)
	if err != nil {
		if force && missing == nil && catenet.IsNotFound(err) {
			return nil
		}
		return cmp.Or(missing, err)
	}
	defer sb.op.Unlock()
	// A container that does not run may name a network that is gone.
	n, name, missing := e.named(network)
	id := ""
	if missing != nil {
		name = network
	} else {
		id = n.ID
	}
	next := now.without(name, id)
	if len(next.Networks) == len(now.Networks) && len(next.Endpoints) == len(now.Endpoints) {
		if missing != nil || force {
			return missing
		}
		return catenet.NotFoundf("container %s is not in network %s", now.Name, name)
	}
	if now.Parked && !force {
		return catenet.Forbiddenf("container %s was joined to network %s by its own runtime (%s), which would not hear of it", now.Name, name, now.Owner).
			WithHint("disconnect it with that runtime's command; --force does it behind its back")
	}
	if now.State != catenet.StateRunning {
		if err := e.keepContainer(next); err != nil {
			return err
		}
		e.locked(func() { e.unreserve(now, next); sb.now = next })
		return nil
	}
	return e.depart(ctx, sb, now, next, now)
}

// Leave takes endpoints, by their IDs, out of a sandbox, and closes those of its
// ports that came with them. A namespace of somebody else's that is left without
// any is detached. What is not there any more is as asked.
func (e *Engine) Leave(ctx context.Context, ref string, endpoints []string, ports []catenet.PortSpec) error {
	sb, now, err := e.lockSandbox(ref)
	if catenet.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sb.op.Unlock()
	next := now.clone()
	for _, ep := range now.Endpoints {
		if slices.Contains(endpoints, ep.ID) {
			next = next.without(ep.Spec.Network, ep.NetworkID)
		}
	}
	switch {
	case len(next.Endpoints) == len(now.Endpoints):
		return nil
	case len(next.Endpoints) == 0 && now.Owner != catenet.OwnerRun:
		return e.remove(context.WithoutCancel(ctx), sb, now)
	}
	open := now
	if closed := slices.DeleteFunc(slices.Clone(ports), func(p catenet.PortSpec) bool { return !slices.Contains(now.Ports, p) }); len(closed) > 0 {
		e.locked(func() { open, err = e.without(now, closed) })
		if err != nil {
			return err
		}
		next.Ports, next.PublishAll = open.Ports, false
	}
	return e.depart(ctx, sb, now, next, open)
}

// depart takes a running sandbox to next, which has fewer endpoints than now, and
// open's ports. sb.op is held.
func (e *Engine) depart(ctx context.Context, sb *sandbox, now, next, open *record) (err error) {
	e.mu.Lock()
	e.chooseDefaults(next)
	err = e.bind(open, next)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	var u undo
	defer u.unless(&err)
	if err = e.keepAhead(now, next, &u); err != nil {
		return err
	}
	if err = e.transition(ctx, sb, now, next); err != nil {
		return err
	}
	u = nil // it has left, whatever else fails
	e.tellLeft(now, next)
	// What was begun on the old link must not go on behind the caller's back.
	return e.reaper.settle(ctx, nil, now.Target.Inode)
}
