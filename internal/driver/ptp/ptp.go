// Package ptp is the driver of networks of two: one veth pair joins two
// containers, and the host has no part in it.
//
//	container eth0 ═══════════ veth ═══════════ eth0 container
//	container eth0 ═══ veth ═══ ctn<network>     as long as it is alone
//
// There is no bridge, no gateway and no rule of the firewall: what the two say
// to each other nobody else hears, and nothing leaves. The end of the pair
// that nobody has yet, or any more, waits on the host, down.
package ptp

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Driver is the driver of such networks. It has no state.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements driver.Driver.
func (Driver) Name() string { return "ptp" }

// Shape implements driver.Shaped: four addresses, of which two are usable, are
// what every tool takes for a link of two (RFC 3021 makes do with half of it);
// of IPv6 two do (RFC 6164).
func (Driver) Shape() driver.Shape {
	return driver.Shape{Apart: true, Bits4: 30, Bits6: 127, Members: 2, Inside: true}
}

// Options implements driver.Driver.
func (Driver) Options() catenet.DriverOptions {
	return catenet.DriverOptions{Network: []string{catenet.OptionMTU, catenet.OptionPrefix}, Endpoint: driver.EndpointOptions()}
}

// Validate implements driver.Driver.
func (Driver) Validate(spec catenet.NetworkSpec) error {
	if _, err := mtuOf(spec); err != nil {
		return err
	}
	var four, six int
	for _, p := range spec.Pools {
		if p.Gateway.IsValid() {
			return catenet.Invalidf("a ptp network has no gateway, and cannot have %s", p.Gateway).WithHint("leave --gateway out: the host is not in the network")
		}
		if p.Subnet.Addr().Is4() {
			four++
		} else {
			six++
		}
	}
	if four > 1 || six > 1 {
		return catenet.Invalidf("a ptp network has one subnet of each family: two containers have no use for more")
	}
	return nil
}

// mtuOf reads the options, and returns the MTU asked for; 0 is the kernel's
// choice.
func mtuOf(spec catenet.NetworkSpec) (mtu int, err error) {
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		switch key {
		case catenet.OptionMTU, catenet.OptionMTUShort:
			mtu, err = driver.MTU(key, spec.Options[key], spec.IPv6)
		case catenet.OptionPrefix:
			err = driver.CheckPrefix(key, spec.Options[key])
		default:
			err = catenet.Invalidf("the ptp driver has no option %q", key).WithHint("its options: %s", strings.Join(Driver{}.Options().Network, ", "))
		}
		if err != nil {
			return 0, err
		}
	}
	return mtu, nil
}

// ValidateEndpoint implements driver.Driver.
func (d Driver) ValidateEndpoint(_ catenet.Network, spec catenet.EndpointSpec) error {
	if spec.Bandwidth != (catenet.Bandwidth{}) {
		return catenet.Unsupportedf("an endpoint of a ptp network has no bandwidth: the host has no end of its link").WithHint("use a bridge network")
	}
	return driver.ValidateEndpoint(d, spec)
}

// Up has nothing to make: a pair comes with the first endpoint.
func (Driver) Up(_ context.Context, _ kernel.Host, n catenet.Network) (driver.State, error) {
	_, err := mtuOf(n.NetworkSpec)
	return driver.State{}, err
}

// Link gives the endpoint an end of the network's pair.
func (Driver) Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at driver.Place) (driver.Attachment, error) {
	inside, err := driver.Inside(n, ep)
	if err != nil {
		return driver.Attachment{}, err
	}
	if inside.MTU, err = mtuOf(n.NetworkSpec); err != nil {
		return driver.Attachment{}, err
	}
	if at.NS == nil {
		return driver.Attachment{}, catenet.Unsupportedf("an end of the ptp network %s needs a namespace to be in", n.Name)
	}
	l := pairOf(n, ep, at)
	l.MTU, l.Peer.MAC = inside.MTU, inside.MAC
	return driver.Attachment{Interface: inside}, h.JoinPair(ctx, l)
}

// Unlink takes the ends of endpoints at a place back.
func (Driver) Unlink(ctx context.Context, h kernel.Host, n catenet.Network, at driver.Place, eps ...catenet.Endpoint) error {
	if at.NS == nil {
		return nil
	}
	for _, ep := range eps {
		if err := h.PartPair(ctx, pairOf(n, ep, at)); err != nil {
			return err
		}
	}
	return nil
}

// Down removes an end that waits, and the pair with it.
func (Driver) Down(ctx context.Context, h kernel.Host, n catenet.Network) error {
	return h.DeleteLinks(ctx, driver.HostLinkName(n.ID))
}

// pairOf is the network's pair, with the end of an endpoint.
func pairOf(n catenet.Network, ep catenet.Endpoint, at driver.Place) kernel.Link {
	return kernel.Link{
		Name: driver.HostLinkName(n.ID), Kind: "veth", Alias: kernel.Mark + n.ID, NoIPv6: true,
		Peer: &kernel.Peer{Name: ep.Interface, NS: at.NS, Alias: kernel.Mark + ep.ID},
	}
}
