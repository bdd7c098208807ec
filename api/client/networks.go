package client

import (
	"context"
	"net/url"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// Version returns the daemon's version.
func (c *Client) Version(ctx context.Context) (v catenet.Version, err error) {
	err = c.call(ctx, "GET", "/version", nil, nil, &v)
	return v, err
}

// Info describes the daemon.
func (c *Client) Info(ctx context.Context) (info catenet.Info, err error) {
	err = c.call(ctx, "GET", "/info", nil, nil, &info)
	return info, err
}

// CreateNetwork creates a network and returns warnings for people beside it.
func (c *Client) CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error) {
	var out api.NetworkCreated
	err := c.call(ctx, "POST", "/networks", nil, spec, &out)
	return out.Network, out.Warnings, err
}

// Networks returns all networks, by name.
func (c *Client) Networks(ctx context.Context) ([]catenet.NetworkStatus, error) {
	return c.NetworksBy(ctx, nil)
}

// NetworksBy returns the networks that f matches, by name.
func (c *Client) NetworksBy(ctx context.Context, f catenet.Filter) (ns []catenet.NetworkStatus, err error) {
	err = c.call(ctx, "GET", "/networks", filter(f), nil, &ns)
	return ns, err
}

// Network returns one network.
func (c *Client) Network(ctx context.Context, ref string) (n catenet.NetworkStatus, err error) {
	path, err := at("network", ref, "")
	if err != nil {
		return n, err
	}
	err = c.call(ctx, "GET", path, nil, nil, &n)
	return n, err
}

// RemoveNetwork removes a network that no endpoint is in, and returns warnings for
// people.
func (c *Client) RemoveNetwork(ctx context.Context, ref string) ([]string, error) {
	var out api.NetworkRemoved
	path, err := at("network", ref, "")
	if err == nil {
		err = c.call(ctx, "DELETE", path, nil, nil, &out)
	}
	return out.Warnings, err
}

// UpdateNetwork changes a network while its containers run, and returns
// warnings for people beside it.
func (c *Client) UpdateNetwork(ctx context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error) {
	var out api.NetworkCreated
	path, err := at("network", ref, "/update")
	if err == nil {
		err = c.call(ctx, "POST", path, nil, up, &out)
	}
	return out.Network, out.Warnings, err
}

// PruneNetworks removes the unused networks that f matches, and returns their
// names.
func (c *Client) PruneNetworks(ctx context.Context, f catenet.Filter) ([]string, error) {
	var out api.Pruned
	err := c.call(ctx, "POST", "/networks/prune", filter(f), nil, &out)
	return out.Removed, err
}

// Connect joins a sandbox to a network.
func (c *Client) Connect(ctx context.Context, network, sandbox string, spec catenet.EndpointSpec) (ep catenet.Endpoint, err error) {
	path, err := at("network", network, "/connect")
	if err != nil {
		return ep, err
	}
	err = c.call(ctx, "POST", path, nil, api.ConnectRequest{Sandbox: sandbox, Endpoint: spec}, &ep)
	return ep, err
}

// Disconnect takes a sandbox out of a network.
func (c *Client) Disconnect(ctx context.Context, network, sandbox string, force bool) error {
	path, err := at("network", network, "/disconnect")
	if err != nil {
		return err
	}
	return c.call(ctx, "POST", path, nil, api.DisconnectRequest{Sandbox: sandbox, Force: force}, nil)
}

// Endpoints returns the endpoints of all sandboxes.
func (c *Client) Endpoints(ctx context.Context) (eps []catenet.Endpoint, err error) {
	err = c.call(ctx, "GET", "/endpoints", nil, nil, &eps)
	return eps, err
}

// Ports returns all published ports.
func (c *Client) Ports(ctx context.Context) (ports []catenet.PortBinding, err error) {
	err = c.call(ctx, "GET", "/ports", nil, nil, &ports)
	return ports, err
}

// at returns the path of one network or container.
func at(what, ref, verb string) (string, error) {
	if err := catenet.ValidateRef(what, ref); err != nil {
		return "", err
	}
	if what == "network" {
		return "/networks/" + ref + verb, nil
	}
	return "/sandboxes/" + ref + verb, nil
}

// filter spells a Filter as a query.
func filter(f catenet.Filter) url.Values {
	q := url.Values{}
	for key, values := range f {
		for _, v := range values {
			q.Add("filter", key+"="+v)
		}
	}
	return q
}
