package cni

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/catenet/catenet"
)

// del takes one attachment away, with the ports that came with it. What is not
// there any more, or never was, is as asked.
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
	ports, err := portsOf(ep)
	if err != nil {
		return err
	}
	return f.engine.Leave(ctx, sb.ID, []string{ep.ID}, ports)
}

// portsOf are the ports that an attachment came with.
func portsOf(ep catenet.Endpoint) (ports []catenet.PortSpec, err error) {
	if text := ep.Spec.Labels[labelPorts]; text != "" {
		if err = json.Unmarshal([]byte(text), &ports); err != nil {
			return nil, fmt.Errorf("read ports of attachment %s: %w", ep.Interface, err)
		}
	}
	return ports, nil
}
