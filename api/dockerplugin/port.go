package dockerplugin

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/catenet/catenet"
)

// keyPortMap is where the published ports are in an endpoint's options.
const keyPortMap = "com.docker.network.portmap"

type portRequest struct {
	NetworkID, EndpointID string
	Options               map[string]json.RawMessage
}

// portBinding is one published port of Docker's.
type portBinding struct {
	Proto                       uint8 // IP protocol number
	Port, HostPort, HostPortEnd uint16
	HostIP                      string
}

// spec reads a binding.
func (b portBinding) spec() (catenet.PortSpec, error) {
	s := catenet.PortSpec{Port: b.Port, HostPort: b.HostPort, HostPortEnd: max(b.HostPort, b.HostPortEnd)}
	for _, proto := range []catenet.Proto{catenet.TCP, catenet.UDP, catenet.SCTP} {
		if proto.Number() == b.Proto {
			s.Proto = proto
		}
	}
	if b.HostIP != "" {
		a, err := addressOf(b.HostIP)
		if err != nil {
			return s, err
		}
		s.HostIP = a
	}
	return s, s.Validate()
}

// publish opens the host's ports of a container: those that are not open yet, in
// case it is asked once more.
func (p *Plugin) publish(ctx context.Context, q portRequest) (any, error) {
	var bindings []portBinding
	if raw := q.Options[keyPortMap]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &bindings); err != nil {
			return nil, catenet.Invalidf("read published ports: %w", err)
		}
	}
	if len(bindings) == 0 {
		return empty{}, nil
	}
	sb, _, err := p.member(ctx, q.EndpointID)
	if err != nil {
		return nil, err
	}
	var up catenet.SandboxUpdate
	for _, b := range bindings {
		s, err := b.spec()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(sb.Ports, s) {
			up.Publish = append(up.Publish, s)
		}
	}
	if len(up.Publish) == 0 {
		return empty{}, nil
	}
	_, err = p.o.Engine.UpdateSandbox(ctx, sb.ID, up)
	return empty{}, err
}

// unpublish closes them. dockerd asks that of the endpoint that it had asked to
// publish them.
func (p *Plugin) unpublish(ctx context.Context, q portRequest) (any, error) {
	sb, _, err := p.member(ctx, q.EndpointID)
	if catenet.IsNotFound(err) || err == nil && len(sb.Ports) == 0 {
		return empty{}, nil
	}
	if err == nil {
		_, err = p.o.Engine.UpdateSandbox(ctx, sb.ID, catenet.SandboxUpdate{Unpublish: sb.Ports})
	}
	if err != nil && !catenet.IsNotFound(err) {
		return nil, err
	}
	return empty{}, nil
}
