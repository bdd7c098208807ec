package cni

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/catenet/catenet"
)

// add makes one attachment. The first of a container makes its sandbox, a
// further one connects it to one more network.
func (f *Front) add(ctx context.Context, c call) (any, error) {
	prev, err := c.previous()
	if err != nil {
		return nil, err
	}
	if err := c.checkChain(prev); err != nil {
		return nil, err
	}
	spec, ports, dns, err := c.wants()
	if err != nil {
		return nil, err
	}
	defer f.busy.hold("container " + c.containerID)()
	sb, found, err := f.sandbox(ctx, c)
	if err != nil {
		return nil, err
	}
	if ports, err = own(&spec, ports, sb.Ports); err != nil {
		return nil, err
	}
	if len(ports) > 0 && spec.NoDefault4 && spec.NoDefault6 && !slices.ContainsFunc(sb.Endpoints, leadsOut) {
		return nil, catenet.Invalidf("portMappings: the container gets no default route, by which answers would leave").
			WithHint(`set "isDefaultGateway": true, or name {"dst": "0.0.0.0/0"} in the routes of ipam`)
	}
	n, err := f.network(ctx, c.conf)
	if err != nil {
		return nil, err
	}
	spec.Network = n.ID
	var ep catenet.Endpoint
	if found {
		ep, err = f.connect(ctx, sb, n, spec, ports)
	} else {
		ep, err = f.create(ctx, c, catenet.SandboxSpec{
			Owner: catenet.OwnerCNI, RuntimeID: c.containerID, Netns: c.netns,
			Networks: []catenet.EndpointSpec{spec}, Ports: ports, PortsHeld: c.conf.PortsHeld, DNS: dns,
		})
	}
	if err != nil {
		return nil, err
	}
	return c.resultOf(prev, n, ep)
}

// leadsOut reports whether a default route goes through an endpoint.
func leadsOut(ep catenet.Endpoint) bool { return ep.DefaultRoute4 || ep.DefaultRoute6 }

// checkChain refuses to make an interface that a plugin before us has made.
func (c call) checkChain(prev result) error {
	before, err := prev.interfaces()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(before, func(i resultInterface) bool { return i.Sandbox != "" && i.Name == c.ifname }) {
		return catenet.Invalidf("interface %s was made by an earlier plugin of the chain", c.ifname).
			WithHint("catenet makes a container's interface itself: put it in the place of the plugin that makes it, and leave that one out")
	}
	return nil
}

// wants is what is asked for, checked.
func (c call) wants() (spec catenet.EndpointSpec, ports []catenet.PortSpec, dns catenet.DNSConfig, err error) {
	spec = catenet.EndpointSpec{
		Interface: c.ifname, Aliases: slices.Clone(c.conf.RuntimeConfig.Aliases),
		Bandwidth: c.conf.RuntimeConfig.Bandwidth.bandwidth(),
		Labels:    map[string]string{labelName: c.conf.Name},
	}
	if name := c.args.name(); name != "" {
		spec.Aliases = append(spec.Aliases, name)
	}
	spec.NoDefault4, spec.NoDefault6 = c.conf.defaults()
	if err = c.asked(&spec); err == nil {
		err = spec.Bandwidth.Validate()
	}
	for _, alias := range spec.Aliases {
		err = errors.Join(err, catenet.ValidateName("alias", alias))
	}
	if err != nil {
		return spec, nil, dns, err
	}
	if ports, err = c.conf.ports(); err != nil {
		return spec, nil, dns, err
	}
	dns, err = c.dns()
	return spec, ports, dns, err
}

// own leaves an attachment the ports that the container does not publish yet: a
// runtime may tell all of them for each of its networks.
func own(spec *catenet.EndpointSpec, ports, published []catenet.PortSpec) ([]catenet.PortSpec, error) {
	ports = slices.DeleteFunc(ports, func(p catenet.PortSpec) bool { return slices.Contains(published, p) })
	if len(ports) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(ports)
	spec.Labels[labelPorts] = string(b)
	return ports, err
}

// create makes a container's sandbox, under the most telling name that is free.
func (f *Front) create(ctx context.Context, c call, spec catenet.SandboxSpec) (ep catenet.Endpoint, err error) {
	for _, name := range c.names() {
		if f.taken(ctx, name) {
			continue
		}
		spec.Name = name
		st, err := f.engine.CreateSandbox(ctx, spec, true)
		if err == nil {
			return st.Endpoints[0], nil
		}
		if !catenet.IsConflict(err) || !f.taken(ctx, name) {
			return ep, err
		}
	}
	return ep, err
}

// names are those that a container may have, the best first: what the runtime calls
// it, its ID,
// the beginning of a long one, and whatever the daemon makes.
func (c call) names() (names []string) {
	for _, name := range []string{c.args.name(), c.containerID, catenet.ShortID(c.containerID)} {
		if catenet.ValidateName("container", name) == nil {
			names = append(names, name)
		}
	}
	return append(names, "")
}

// taken reports whether a container has that name.
func (f *Front) taken(ctx context.Context, name string) bool {
	if name == "" {
		return false
	}
	st, err := f.engine.Sandbox(ctx, name)
	return err == nil && st.Name == name
}

// connect joins a container that is there to one more network.
func (f *Front) connect(ctx context.Context, sb catenet.SandboxStatus, n catenet.Network, spec catenet.EndpointSpec, ports []catenet.PortSpec) (catenet.Endpoint, error) {
	if slices.ContainsFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return ep.Interface == spec.Interface }) {
		return catenet.Endpoint{}, catenet.Conflictf("container %s has an interface %s already", sb.Name, spec.Interface).
			WithHint("DEL takes it away")
	}
	ep, err := f.engine.Connect(ctx, n.ID, sb.ID, spec)
	if err != nil || len(ports) == 0 {
		return ep, err
	}
	if _, err = f.engine.UpdateSandbox(ctx, sb.ID, catenet.SandboxUpdate{Publish: ports}); err != nil {
		return ep, errors.Join(err, f.engine.Leave(ctx, sb.ID, []string{ep.ID}, nil))
	}
	return ep, nil
}
