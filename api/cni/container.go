package cni

import (
	"context"
	"slices"

	"github.com/catenet/catenet"
)

// sandbox finds the sandbox of a call's container: by its ID, and where the
// runtime tells the namespace by that too.
func (f *Front) sandbox(ctx context.Context, c call) (sb catenet.SandboxStatus, found bool, err error) {
	ours := func(s catenet.SandboxStatus) bool {
		return s.Owner == catenet.OwnerCNI && s.RuntimeID == c.containerID && (c.netns == "" || s.Netns == c.netns)
	}
	// Mostly the ID means just this one container, or none.
	sb, err = f.engine.Sandbox(ctx, c.containerID)
	if err == nil && ours(sb) {
		return sb, true, nil
	}
	if catenet.IsNotFound(err) {
		return sb, false, nil
	}
	all, err := f.engine.Sandboxes(ctx, false)
	if err != nil {
		return sb, false, err
	}
	if i := slices.IndexFunc(all, ours); i >= 0 {
		return all[i], true, nil
	}
	return sb, false, nil
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
