package apitest

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/catenet/catenet"
)

// UpdateNetwork implements server.Engine.
func (e *Engine) UpdateNetwork(_ context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(ref)
	if err != nil {
		return catenet.Network{}, nil, err
	}
	labels, options := map[string]string{}, map[string]string{}
	maps.Copy(labels, n.Labels)
	maps.Copy(labels, up.AddLabels)
	maps.DeleteFunc(labels, func(key, _ string) bool { return slices.Contains(up.DropLabels, key) })
	maps.Copy(options, n.Options)
	maps.Copy(options, up.Options)
	if up.MTU != 0 {
		options[catenet.OptionMTU] = strconv.Itoa(up.MTU)
	}
	n.Labels, n.Options = labels, options
	n.DNS = slices.DeleteFunc(append(slices.Clone(n.DNS), up.AddDNS...), func(a netip.Addr) bool { return slices.Contains(up.DropDNS, a) })
	for _, p := range up.AddPools {
		if !p.Gateway.IsValid() {
			p.Gateway = p.Subnet.Addr().Next()
		}
		n.Pools = append(slices.Clone(n.Pools), p)
	}
	for _, r := range up.AddSetAside {
		pools := slices.Clone(n.Pools)
		for i := range pools {
			if pools[i].Subnet.Contains(r.First) {
				pools[i].SetAside = append(slices.Clone(pools[i].SetAside), r)
			}
		}
		n.Pools = pools
	}
	for _, r := range up.DropSetAside {
		n.Pools = slices.Clone(n.Pools)
		for i, p := range n.Pools {
			n.Pools[i].SetAside = slices.DeleteFunc(slices.Clone(p.SetAside), func(has catenet.Range) bool { return has == r })
		}
	}
	if n.Name = cmp.Or(up.Name, n.Name); up.Name != "" {
		e.rename(n.ID, up.Name)
	}
	e.tell("network", "update", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return n.Network, nil, nil
}

// UpdateSandbox implements server.Engine.
func (e *Engine) UpdateSandbox(_ context.Context, ref string, up catenet.SandboxUpdate) (catenet.SandboxStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(ref)
	if err != nil {
		return catenet.SandboxStatus{}, err
	}
	for ref, aliases := range up.Aliases {
		n, err := e.network(ref)
		if err != nil {
			return catenet.SandboxStatus{}, err
		}
		eps := slices.Clone(c.status.Endpoints) // somebody may be reading the earlier ones
		for i := range eps {
			if eps[i].NetworkID == n.ID {
				eps[i].Spec.Aliases = aliases
			}
		}
		c.status.Endpoints = eps
	}
	for _, p := range up.Unpublish {
		c.status.Bindings = slices.DeleteFunc(slices.Clone(c.status.Bindings), func(b catenet.PortBinding) bool {
			return b.Proto == p.Proto && b.Port == p.Port && (p.HostPort == 0 || p.HostPort == b.HostPort)
		})
	}
	e.publish(c, up.Publish)
	if up.Name != nil {
		c.status.Name = *up.Name
	}
	return c.status, nil
}

// Check implements server.Engine: what is here is as it should be.
func (e *Engine) Check(_ context.Context, ref string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.sandbox(ref)
	return err
}

// rename has all endpoints in a network call it so.
func (e *Engine) rename(id, name string) {
	for _, c := range e.sandboxes {
		eps := slices.Clone(c.status.Endpoints) // somebody may be reading the earlier ones
		for i := range eps {
			if eps[i].NetworkID == id {
				eps[i].Spec.Network = name
			}
		}
		c.status.Endpoints = eps
	}
}
