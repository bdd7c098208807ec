// Package routed is the driver of networks whose hosts know each other by their
// options: each has a subnet of its own, and a route to those of the others, by
// the host that has it. Nobody has to be asked, and no tunnel is in between; the
// hosts have to be on one wire.
//
//	container ══ bridge 10.1.0.0/24 ── host 192.0.2.1 ──┐
//	                                                    ├── wire
//	container ══ bridge 10.2.0.0/24 ── host 192.0.2.2 ──┘
//
//	192.0.2.1:  10.2.0.0/24 via 192.0.2.2
//	192.0.2.2:  10.1.0.0/24 via 192.0.2.1
package routed

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// optPeers lists the other hosts' subnets and where they are: CIDR=GATEWAY,…
const optPeers = "peers"

// By is how the other hosts are reached.
const By = "route"

// Driver is the driver. It has no state.
type Driver struct {
	driver.Driver // the bridge driver, for all that is on this host
}

// New returns the driver of networks that are bridge's on each host.
func New(bridge driver.Driver) Driver { return Driver{bridge} }

// Name implements driver.Driver.
func (Driver) Name() string { return "routed" }

// Options implements driver.Driver.
func (d Driver) Options() catenet.DriverOptions {
	o := d.Driver.Options()
	o.Network = append([]string{optPeers}, o.Network...)
	return o
}

// Validate implements driver.Driver.
func (d Driver) Validate(spec catenet.NetworkSpec) error {
	peers, base, err := d.parse(spec)
	if err != nil {
		return err
	}
	for i, p := range peers {
		if slices.ContainsFunc(peers[:i], func(q peer) bool { return q.subnet.Overlaps(p.subnet) }) {
			return catenet.Invalidf("option %s: %s overlaps that of another peer", optPeers, p.subnet).WithHint("each host has a subnet of its own")
		}
		if slices.ContainsFunc(spec.Pools, func(own catenet.Pool) bool { return own.Subnet.Overlaps(p.subnet) }) {
			return catenet.Invalidf("option %s: %s overlaps this host's own subnet", optPeers, p.subnet).WithHint("each host has a subnet of its own")
		}
		if four := p.subnet.Addr().Is4(); four && spec.DisableIPv4 || !four && !spec.IPv6 {
			return catenet.Invalidf("option %s: %s is of a family that the network has not", optPeers, p.subnet)
		}
	}
	return d.Driver.Validate(base)
}

// ValidateEndpoint implements driver.Driver.
func (d Driver) ValidateEndpoint(_ catenet.Network, spec catenet.EndpointSpec) error {
	return driver.ValidateEndpoint(d, spec)
}

// peer is another host.
type peer struct {
	subnet  netip.Prefix
	gateway netip.Addr
}

// parse reads the options.
func (d Driver) parse(spec catenet.NetworkSpec) ([]peer, catenet.NetworkSpec, error) {
	own, base, err := driver.Apart(d, d.Driver, spec, optPeers)
	if err != nil {
		return nil, base, err
	}
	var peers []peer
	for _, word := range strings.FieldsFunc(own[optPeers], func(r rune) bool { return r == ',' }) {
		subnet, gateway, _ := strings.Cut(strings.TrimSpace(word), "=")
		p, err := netip.ParsePrefix(subnet)
		g, gerr := netip.ParseAddr(gateway)
		if err != nil || gerr != nil || p.Addr().Is4() != g.Is4() || g.Zone() != "" || p.Bits() == 0 || p.Addr().Is4In6() || p != p.Masked() {
			return nil, base, catenet.Invalidf("option %s: %q is no peer", optPeers, word).
				WithHint("write the subnet of each other host and its address on the wire: 10.2.0.0/24=192.0.2.2,10.3.0.0/24=192.0.2.3")
		}
		peers = append(peers, peer{p, g})
	}
	if len(peers) == 0 {
		return nil, base, catenet.Invalidf("a routed network needs to know its other hosts").
			WithHint("-o %s=10.2.0.0/24=192.0.2.2 names the subnet of each and its address", optPeers)
	}
	return peers, base, nil
}

// Up makes the routes and the bridge. A host that is on no wire now is trouble; the
// others are reached.
func (d Driver) Up(ctx context.Context, h kernel.Host, n catenet.Network) (driver.State, error) {
	peers, base, err := d.parse(n.NetworkSpec)
	if err != nil {
		return driver.State{}, err
	}
	reach, trouble := reachOf(ctx, h, peers)
	n.NetworkSpec = base
	state, err := d.Driver.Up(ctx, h, n)
	if len(state.Firewall) == 0 {
		return state, errors.Join(err, trouble)
	}
	wants := &state.Firewall[0]
	wants.Span = slices.Clone(wants.Subnets)
	for _, p := range peers {
		wants.Span, wants.Hosts = append(wants.Span, p.subnet), append(wants.Hosts, p.gateway)
		state.Peers = append(state.Peers, catenet.Peer{Host: p.gateway, Subnets: []netip.Prefix{p.subnet}, By: By})
	}
	for _, r := range reach {
		if !slices.Contains(wants.By, r.Link) {
			wants.By = append(wants.By, r.Link)
		}
	}
	if err == nil {
		state.Trouble = errors.Join(trouble, driver.Lead(ctx, h, subnets(peers), reach))
	}
	return state, err
}

func subnets(peers []peer) (all []netip.Prefix) {
	for _, p := range peers {
		all = append(all, p.subnet)
	}
	return all
}

// reachOf says how the peers are reached, those of them that can be.
func reachOf(ctx context.Context, h kernel.Host, peers []peer) (reach []kernel.Reach, err error) {
	var hosts []netip.Addr
	for _, p := range peers {
		hosts = append(hosts, p.gateway)
	}
	direct, err := h.Direct(ctx, hosts...)
	for _, p := range peers {
		if link, ok := direct[p.gateway]; ok {
			reach = append(reach, kernel.Reach{Link: link, Subnet: p.subnet, Via: p.gateway})
		} else if err == nil {
			err = catenet.NotFoundf("%s, where %s is, is on no wire of this host", p.gateway, p.subnet).
				WithHint("a peer's address is one that this host reaches without a gateway: ip route get %s", p.gateway)
		}
	}
	return reach, err
}

// Link implements driver.Driver.
func (d Driver) Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at driver.Place) (driver.Attachment, error) {
	_, base, err := d.parse(n.NetworkSpec)
	if err != nil {
		return driver.Attachment{}, err
	}
	n.NetworkSpec = base
	return d.Driver.Link(ctx, h, n, ep, at)
}

// Down removes the routes, then the bridge.
func (d Driver) Down(ctx context.Context, h kernel.Host, n catenet.Network) error {
	peers, base, err := d.parse(n.NetworkSpec)
	if err != nil {
		return err
	}
	err = driver.Lead(ctx, h, subnets(peers), nil)
	n.NetworkSpec = base
	return errors.Join(err, d.Driver.Down(ctx, h, n))
}
