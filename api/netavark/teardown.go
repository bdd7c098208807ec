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

// teardown takes a container out of networks. What is gone already is no error.
func (f *Front) teardown(ctx context.Context, r request) error {
	joins, err := r.joins()
	if err != nil {
		return err
	}
	sb, found, err := f.sandbox(ctx, r.ContainerID)
	if err != nil || !found {
		return err
	}
	var leaving []string
	for _, ep := range sb.Endpoints {
		if slices.ContainsFunc(joins, func(j join) bool { return j.Name == ep.Spec.Network }) {
			leaving = append(leaving, ep.ID)
		}
	}
	return f.engine.Leave(ctx, sb.ID, leaving, nil)
}
