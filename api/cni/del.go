package cni

import (
	"context"

	"github.com/catenet/catenet"
)

// del takes one attachment away, and with the last one the sandbox. What is
// not there any more, or never was, is as asked.
func (f *Front) del(ctx context.Context, c call) error {
	defer f.busy.hold("container " + c.containerID)()
	sb, found, err := f.sandbox(ctx, c)
	if err != nil || !found {
		return err
	}
	ep, found := attached(sb, c.conf.Name, c.ifname)
	if !found {
		return nil
	}
	return f.detach(ctx, sb, ep)
}

// detach takes an attachment that is there away.
func (f *Front) detach(ctx context.Context, sb catenet.SandboxStatus, ep catenet.Endpoint) error {
	err := error(nil)
	if len(sb.Endpoints) == 1 {
		err = f.engine.Remove(ctx, sb.ID, true)
	} else {
		err = f.disconnect(ctx, sb, ep)
	}
	if catenet.IsNotFound(err) { // its namespace went meanwhile
		return nil
	}
	return err
}

// disconnect takes an attachment away from a container that has others, and
// the ports that came with it.
func (f *Front) disconnect(ctx context.Context, sb catenet.SandboxStatus, ep catenet.Endpoint) error {
	return f.engine.Disconnect(ctx, ep.NetworkID, sb.ID, true)
}
