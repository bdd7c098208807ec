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
	o.Update = []string{optPeers}
	return o
}

// Validate implements driver.Driver.
func (d Driver) Validate(spec catenet.NetworkSpec) error {
	if err := driver.Across(spec); err != nil {
		return err
	}
	peers, base, err := d.parse(spec)
	if err != nil {
		return err
	}
	for i, p := range peers {
		if slices.ContainsFunc(peers[:i], func(q peer) bool { return q.subnet.Overlaps(p.subnet) }) {
			return catenet.Invalidf("option %s: %s overlaps that of another peer", optPeers, p.subnet).WithHint("each host has a subnet of its own")
		}
		if slices.ContainsFunc(spec.Pools, func(own catenet.Pool) bool { return own.Subnet.Overlaps(p.subnet) }) {
			return catenet.Invalidf("option %s: %s overlaps this host's own subnet", optPeers, p.subnet).WithHint("name the other hosts' subnets; this host's own is that of --subnet")
		}
		if slices.ContainsFunc(spec.Pools, func(own catenet.Pool) bool { return own.Subnet.Contains(p.gateway) }) {
			return catenet.Invalidf("option %s: %s is in the network's own subnet, and no other host's address", optPeers, p.gateway).
				WithHint("name the address at which this host reaches the one with %s", p.subnet)
		}
		if four := p.subnet.Addr().Is4(); four && spec.DisableIPv4 || !four && !spec.IPv6 {
			return catenet.Invalidf("option %s: %s is of a family that the network has not", optPeers, p.subnet).
				WithHint("--subnet gives this host a subnet of that family")
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
		p, err := parsePeer(strings.TrimSpace(word))
		if err != nil {
			return nil, base, err
		}
		peers = append(peers, p)
	}
	if len(peers) == 0 {
		return nil, base, catenet.Invalidf("a routed network needs to know its other hosts").
			WithHint("-o %s=10.2.0.0/24=192.0.2.2 names the subnet of each and its address", optPeers)
	}
	return peers, base, nil
}

// parsePeer reads CIDR=GATEWAY.
func parsePeer(word string) (p peer, err error) {
	subnet, gateway, paired := strings.Cut(word, "=")
	p.subnet, err = netip.ParsePrefix(subnet)
	if !paired || err != nil {
		return p, catenet.Invalidf("option %s: %q is no peer", optPeers, word).
			WithHint("write the subnet of each other host and its address on the wire: 10.2.0.0/24=192.0.2.2,10.3.0.0/24=192.0.2.3")
	}
	p.gateway, err = netip.ParseAddr(gateway)
	base := p.subnet.Addr()
	switch {
	case p.subnet != p.subnet.Masked():
		return p, catenet.Invalidf("option %s: %s is an address within a subnet", optPeers, subnet).WithHint("its subnet is %s", p.subnet.Masked())
	case p.subnet.Bits() == 0 || base.Is4In6() || !base.IsGlobalUnicast():
		return p, catenet.Invalidf("option %s: no host has the subnet %s", optPeers, subnet).WithHint("name the one that its containers have, such as 10.2.0.0/24")
	case err != nil || p.gateway.Zone() != "" || p.gateway.Is4In6() || !p.gateway.IsGlobalUnicast():
		return p, catenet.Invalidf("option %s: no host is reached at %q", optPeers, gateway).
			WithHint("behind the = is the address of the host that has %s, such as 192.0.2.2", subnet)
	case base.Is4() != p.gateway.Is4():
		return p, catenet.Invalidf("option %s: %s is not reached by way of %s, which is of the other family", optPeers, subnet, gateway).
			WithHint("an IPv4 subnet needs the host's IPv4 address, and an IPv6 subnet its IPv6 address")
	case p.subnet.Contains(p.gateway):
		return p, catenet.Invalidf("option %s: %s would be reached by way of itself: %s is in it", optPeers, subnet, gateway).
			WithHint("behind the = is the host's address on the wire, not one of its containers' subnet")
	}
	return p, nil
}

// Elsewhere implements driver.Charted.
func (d Driver) Elsewhere(spec catenet.NetworkSpec) []netip.Prefix {
	peers, _, err := d.parse(spec)
	if err != nil {
		return nil // whoever needs them to be valid has them validated
	}
	return subnets(peers)
}

// Change implements driver.Charted. What goes on as before is not written again, and
// a peer that has moved is reached all the time.
func (d Driver) Change(ctx context.Context, h kernel.Host, now, next catenet.Network) (driver.State, error) {
	return d.up(ctx, h, next, d.Elsewhere(now.NetworkSpec))
}

// Up makes the routes and the bridge. A host that is on no wire now is trouble; the
// others are reached.
func (d Driver) Up(ctx context.Context, h kernel.Host, n catenet.Network) (driver.State, error) {
	return d.up(ctx, h, n, nil)
}

// up is Up of a network that had other peers, too.
func (d Driver) up(ctx context.Context, h kernel.Host, n catenet.Network, had []netip.Prefix) (driver.State, error) {
	peers, base, err := d.parse(n.NetworkSpec)
	if err != nil {
		return driver.State{}, err
	}
	direct, blind := h.Direct(ctx, gateways(peers)...)
	n.NetworkSpec = base
	state, err := d.Driver.Up(ctx, h, n)
	if len(state.Firewall) == 0 {
		return state, errors.Join(err, blind)
	}
	wants := &state.Firewall[0]
	wants.Span, wants.Hosts = slices.Concat(wants.Subnets, subnets(peers)), gateways(peers)
	var reach []kernel.Reach
	for _, p := range peers {
		far := blind
		if link, ok := direct[p.gateway]; ok {
			reach = append(reach, kernel.Reach{Link: link, Subnet: p.subnet, Via: p.gateway})
		} else if far == nil {
			far = catenet.NotFoundf("%s, where %s is, is on no wire of this host", p.gateway, p.subnet).
				WithHint("a peer's address is another host's that this one reaches without a gateway: ip route get %s", p.gateway)
		}
		state.Peers = append(state.Peers, peerOf(p, far))
		if state.Trouble == nil {
			state.Trouble = far
		}
	}
	for _, r := range reach {
		if !slices.Contains(wants.By, r.Link) {
			wants.By = append(wants.By, r.Link)
		}
	}
	if err == nil && blind == nil {
		state.Trouble = errors.Join(state.Trouble, driver.Lead(ctx, h, slices.Concat(subnets(peers), had), reach))
	}
	return state, err
}

// peerOf is what people are told of a peer; far says why it is not reached.
func peerOf(p peer, far error) catenet.Peer {
	told := catenet.Peer{Host: p.gateway, Subnets: []netip.Prefix{p.subnet}, By: By}
	if far != nil {
		told.Trouble = far.Error()
	}
	return told
}

func subnets(peers []peer) (all []netip.Prefix) {
	for _, p := range peers {
		all = append(all, p.subnet)
	}
	return all
}

func gateways(peers []peer) (all []netip.Addr) {
	for _, p := range peers {
		all = append(all, p.gateway)
	}
	return all
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
