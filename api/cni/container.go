package cni

import (
	"context"
	"slices"

	"github.com/catenet/catenet"
)

// sandbox finds the sandbox of a call's container: by its ID, and its namespace.
// A DEL need not tell that, or may tell another way to it.
func (f *Front) sandbox(ctx context.Context, c call) (sb catenet.SandboxStatus, found bool, err error) {
	named := func(s catenet.SandboxStatus) bool { return s.Owner == catenet.OwnerCNI && s.RuntimeID == c.containerID }
	exact := func(s catenet.SandboxStatus) bool { return named(s) && s.Netns == c.netns }
	// Mostly the ID means just this one container, or none.
	sb, err = f.engine.Sandbox(ctx, c.containerID)
	if err == nil && exact(sb) {
		return sb, true, nil
	}
	if catenet.IsNotFound(err) {
		return catenet.SandboxStatus{}, false, nil
	}
	all, err := f.engine.Sandboxes(ctx, false)
	if err != nil {
		return sb, false, err
	}
	i := slices.IndexFunc(all, exact)
	if i < 0 && c.command == "DEL" {
		i = slices.IndexFunc(all, named)
	}
	if i < 0 {
		return catenet.SandboxStatus{}, false, nil
	}
	return all[i], true, nil
}

// attached finds the attachment of a call: the interface that its network's
// configuration has made.
func attached(sb catenet.SandboxStatus, network, ifname string) (catenet.Endpoint, bool) {
	i := slices.IndexFunc(sb.Endpoints, func(ep catenet.Endpoint) bool {
		return ep.Interface == ifname && ep.Spec.Labels[labelName] == network
	})
	if i < 0 {
		return catenet.Endpoint{}, false
	}
	return sb.Endpoints[i], true
}
