// Package bridge is the driver of networks on one host: a Linux bridge with
// the gateways' addresses, and a veth pair for each endpoint.
//
//	container eth0 ═══ veth ═══ ctn<endpoint> ┐
//	container eth0 ═══ veth ═══ ctn<endpoint> ┴─ br-<network> (gateway) ── the host routes
//
// What leaves, enters or is kept apart is the firewall's: Up says what the
// network wants of it. Containers that must not reach each other (icc off)
// are isolated ports of the bridge, so that it holds whether or not bridged
// frames pass the IP firewall; they send each other what they have by way of
// the host, where the firewall lets links through.
package bridge

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
)

// predefinedLink is the bridge of the predefined network. It is not docker0:
// we live beside Docker.
const predefinedLink = "catenet0"

// Driver is the bridge driver. It has no state.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements driver.Driver.
func (Driver) Name() string { return "bridge" }

// bridgeName names the network's bridge.
func bridgeName(n catenet.Network, o options) string {
	switch {
	case o.name != "":
		return o.name
	case n.Predefined:
		return predefinedLink
	}
	return "br-" + catenet.ShortID(n.ID)
}

// Up makes the bridge, lets the host route, and says what the network wants
// of the firewall.
func (Driver) Up(ctx context.Context, h kernel.Host, n catenet.Network) (driver.State, error) {
	o, err := parse(n.NetworkSpec)
	if err != nil {
		return driver.State{}, err
	}
	l := kernel.Link{
		Name: bridgeName(n, o), Kind: "bridge", Alias: kernel.Mark + n.ID,
		MAC: bridgeMAC(n.ID), NoIPv6: !n.IPv6 || n.Gateway(false) == catenet.GatewayIsolated,
	}
	wants := firewall.Network{
		ID: n.ID, Link: l.Name, Internal: n.Internal, NoICC: !o.icc,
		V4: o.gateway(n.NetworkSpec, true), V6: o.gateway(n.NetworkSpec, false), Trusted: o.trusted,
	}
	for _, p := range n.Pools {
		four := p.Subnet.Addr().Is4()
		if n.Gateway(four) != catenet.GatewayIsolated && (!four || !o.inhibit) {
			l.Addrs = append(l.Addrs, netip.PrefixFrom(p.Gateway, p.Subnet.Bits()))
		}
		wants.Subnets = append(wants.Subnets, p.Subnet)
	}
	state := driver.State{Firewall: []firewall.Network{wants}}
	if state.Warnings, err = o.warnings(ctx, h); err != nil {
		return state, err
	}
	if l.MTU, err = mtuOf(ctx, h, o); err != nil {
		return state, err
	}
	if !n.Internal || !o.icc {
		if err := h.EnableForwarding(ctx, !n.DisableIPv4, n.IPv6); err != nil {
			return state, fmt.Errorf("let the host route: %w", err)
		}
	}
	// Last: what fails leaves no bridge behind.
	return state, h.EnsureLink(ctx, l)
}

// Down removes the bridge, by its mark: another's of that name is not ours to
// remove. Forwarding stays on: others may need it by now.
func (Driver) Down(ctx context.Context, h kernel.Host, n catenet.Network) error {
	links, err := h.Links(ctx)
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Kind == "bridge" && l.Alias == kernel.Mark+n.ID {
			return h.DeleteLinks(ctx, l.Name)
		}
	}
	return nil
}

// mtuOf is the MTU asked for, else that of the host's way out, in bytes.
func mtuOf(ctx context.Context, h kernel.Host, o options) (int, error) {
	if o.mtu != 0 {
		return o.mtu, nil
	}
	_, mtu, err := h.DefaultLink(ctx)
	if err != nil {
		return 0, fmt.Errorf("find the host's default route: %w", err)
	}
	return mtu, nil
}

// bridgeMAC gives a bridge an address of its own. Without one it takes the
// lowest of its ports', and changes it as containers come and go.
func bridgeMAC(networkID string) net.HardwareAddr {
	mac := net.HardwareAddr{0x02, 0x42, 0, 0, 0, 0}
	if b, err := hex.DecodeString(networkID[:8]); err == nil {
		copy(mac[2:], b)
	}
	return mac
}
