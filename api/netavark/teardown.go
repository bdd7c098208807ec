package netavark

import (
	"context"
	"slices"

	"github.com/catenet/catenet"
)

// sandbox finds a container of Podman's.
func (f *Front) sandbox(ctx context.Context, id string) (catenet.SandboxStatus, bool, error) {
	sb, err := f.engine.Sandbox(ctx, id)
	if catenet.IsNotFound(err) || err == nil && sb.RuntimeID != id {
		return catenet.SandboxStatus{}, false, nil
	}
	return sb, err == nil, err
}

// teardown takes a container out of networks, and forgets it when it is in
// none any more. What is gone already is no error.
func (f *Front) teardown(ctx context.Context, r request) error {
	joins, err := r.joins()
	if err != nil {
		return err
	}
	sb, found, err := f.sandbox(ctx, r.ContainerID)
	if err != nil || !found {
		return err
	}
	leaves := func(ep catenet.Endpoint) bool {
		return slices.ContainsFunc(joins, func(j join) bool { return j.Name == ep.Spec.Network })
	}
	if !slices.ContainsFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return !leaves(ep) }) {
		return gone(f.engine.Remove(ctx, sb.ID, true))
	}
	for _, ep := range sb.Endpoints {
		if leaves(ep) {
			if err := gone(f.engine.Disconnect(ctx, ep.NetworkID, sb.ID, true)); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone takes for done what somebody else has done meanwhile.
func gone(err error) error {
	if catenet.IsNotFound(err) {
		return nil
	}
	return err
}
