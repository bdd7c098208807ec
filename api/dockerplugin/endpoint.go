package dockerplugin

import (
	"cmp"
	"context"
	"net/netip"
	"path"
	"slices"

	"github.com/catenet/catenet"
)

type endpointRequest struct {
	NetworkID, EndpointID, SandboxKey string
	Interface                         *endpointInterface
	Options                           map[string]any
}

type endpointInterface struct {
	Address     string `json:",omitempty"`
	AddressIPv6 string `json:",omitempty"`
	MacAddress  string `json:",omitempty"`
}

type joinReply struct {
	InterfaceName         struct{ SrcName, DstPrefix string }
	Gateway               string        `json:",omitempty"`
	GatewayIPv6           string        `json:",omitempty"`
	StaticRoutes          []staticRoute `json:",omitempty"`
	DisableGatewayService bool
}

// staticRoute is a route inside; its type is 0 with a next hop, and 1 where the
// destination is on the link.
type staticRoute struct {
	Destination string
	RouteType   int
	NextHop     string `json:",omitempty"`
}

// createEndpoint leases the endpoint's addresses in its name. Whose it will be is
// known when it joins.
func (p *Plugin) createEndpoint(ctx context.Context, q endpointRequest) (any, error) {
	n, err := p.network(ctx, q.NetworkID)
	if err != nil {
		return nil, err
	}
	if !catenet.IsID(q.EndpointID) || q.Interface == nil {
		return nil, catenet.Invalidf("%q is no endpoint with an interface", q.EndpointID)
	}
	var addrs []netip.Addr
	for _, text := range []string{q.Interface.Address, q.Interface.AddressIPv6} {
		if text == "" {
			continue
		}
		a, err := addressOf(text)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return nil, catenet.Invalidf("an endpoint of network %s has no address", n.Name).WithHint("make the network with --ipam-driver catenet")
	}
	mac := cmp.Or(q.Interface.MacAddress, catenet.MACFor(addrs[0]))
	for _, a := range addrs {
		i := slices.IndexFunc(n.Pools, func(pool catenet.Pool) bool { return pool.Subnet.Contains(a) })
		if i < 0 {
			err = catenet.Invalidf("address %s is in no subnet of network %s", a, n.Name)
		} else {
			_, err = p.o.Engine.LeaseAddress(ctx, catenet.Lease{Subnet: n.Pools[i].Subnet, Address: a, Holder: q.EndpointID, MAC: mac})
		}
		if err != nil {
			if undo := p.o.Engine.ReleaseHolder(ctx, q.EndpointID); undo != nil {
				p.log.Error("take back leases", "endpoint", catenet.ShortID(q.EndpointID), "err", undo)
			}
			return nil, err
		}
	}
	var reply struct{ Interface endpointInterface }
	if q.Interface.MacAddress == "" { // only what was empty
		reply.Interface.MacAddress = mac
	}
	return reply, nil
}

// member finds the sandbox that an endpoint is of.
func (p *Plugin) member(ctx context.Context, endpoint string) (sb catenet.SandboxStatus, ep catenet.Endpoint, err error) {
	all, err := p.o.Engine.Sandboxes(ctx, false)
	for _, sb := range all {
		for _, ep := range sb.Endpoints {
			if ep.ID == endpoint {
				return sb, ep, nil
			}
		}
	}
	return sb, ep, cmp.Or(err, error(catenet.NotFoundf("there is no endpoint %s", catenet.ShortID(endpoint))))
}

// join gives the sandbox whose namespace will be at q.SandboxKey an endpoint,
// whose link waits for dockerd on the host.
func (p *Plugin) join(ctx context.Context, q endpointRequest) (any, error) {
	n, err := p.network(ctx, q.NetworkID)
	if err != nil {
		return nil, err
	}
	p.joining.Lock()
	defer p.joining.Unlock()
	if _, ep, err := p.member(ctx, q.EndpointID); err == nil { // asked once more
		return joined(n, ep), nil
	}
	spec, err := p.promised(ctx, n, q.EndpointID)
	if err != nil {
		return nil, err
	}
	all, err := p.o.Engine.Sandboxes(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, sb := range all {
		if sb.Netns == q.SandboxKey && sb.Parked {
			ep, err := p.o.Engine.Connect(ctx, n.ID, sb.ID, spec)
			return joined(n, ep), err
		}
	}
	sb, err := p.o.Engine.CreateSandbox(ctx, catenet.SandboxSpec{
		Name: namePrefix + path.Base(q.SandboxKey), Owner: catenet.OwnerDocker, Netns: q.SandboxKey, Parked: true,
		Networks: []catenet.EndpointSpec{spec},
	}, true)
	if err != nil {
		return nil, err
	}
	return joined(n, sb.Endpoints[0]), nil
}

// promised is an endpoint as its leases say.
func (p *Plugin) promised(ctx context.Context, n catenet.NetworkStatus, endpoint string) (catenet.EndpointSpec, error) {
	spec := catenet.EndpointSpec{ID: endpoint, Network: n.ID}
	all, err := p.o.Engine.Leases(ctx)
	if err != nil {
		return spec, err
	}
	found := false
	for _, l := range all {
		if l.Holder != endpoint {
			continue
		}
		found, spec.MAC = true, l.MAC
		if l.Address.Is4() {
			spec.IPv4 = l.Address
		} else {
			spec.IPv6 = l.Address
		}
	}
	if !found {
		return spec, catenet.NotFoundf("there is no endpoint %s to join", catenet.ShortID(endpoint))
	}
	return spec, nil
}

// joined tells dockerd what to do with an endpoint.
func joined(n catenet.NetworkStatus, ep catenet.Endpoint) joinReply {
	var r joinReply
	if ep.Parked != nil {
		r.InterfaceName.SrcName = ep.Parked.Link
		for _, route := range ep.Parked.Routes {
			s := staticRoute{Destination: route.Dst.String(), RouteType: 1}
			if route.Gateway.IsValid() {
				s.RouteType, s.NextHop = 0, route.Gateway.String()
			}
			r.StaticRoutes = append(r.StaticRoutes, s)
		}
	}
	r.InterfaceName.DstPrefix = cmp.Or(n.Options[catenet.OptionPrefix], "eth")
	if !n.Internal && ep.Gateway4.IsValid() {
		r.Gateway = ep.Gateway4.String()
	}
	if !n.Internal && ep.Gateway6.IsValid() {
		r.GatewayIPv6 = ep.Gateway6.String()
	}
	// Else dockerd would give the container a way out of its own.
	r.DisableGatewayService = r.Gateway == "" && r.GatewayIPv6 == ""
	return r
}

// leave takes an endpoint out of its sandbox.
func (p *Plugin) leave(ctx context.Context, q endpointRequest) (any, error) {
	p.joining.Lock()
	defer p.joining.Unlock()
	sb, ep, err := p.member(ctx, q.EndpointID)
	if catenet.IsNotFound(err) {
		return empty{}, nil
	}
	if err != nil {
		return nil, err
	}
	return empty{}, p.o.Engine.Leave(ctx, sb.ID, []string{ep.ID}, nil)
}

func (p *Plugin) deleteEndpoint(ctx context.Context, q endpointRequest) (any, error) {
	if _, err := p.leave(ctx, q); err != nil {
		return nil, err
	}
	return empty{}, p.o.Engine.ReleaseHolder(ctx, q.EndpointID)
}
