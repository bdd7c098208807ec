package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

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
	var err error
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
	if text := ep.Spec.Labels[labelPorts]; text != "" {
		var ports []catenet.PortSpec
		if err := json.Unmarshal([]byte(text), &ports); err != nil {
			return fmt.Errorf("read ports of attachment %s: %w", ep.Interface, err)
		}
		// An earlier DEL may have come as far as this.
		ports = slices.DeleteFunc(ports, func(p catenet.PortSpec) bool { return !slices.Contains(sb.Ports, p) })
		if _, err := f.engine.UpdateSandbox(ctx, sb.ID, catenet.SandboxUpdate{Unpublish: ports}); err != nil {
			return err
		}
	}
	return f.engine.Disconnect(ctx, ep.NetworkID, sb.ID, true)
}
