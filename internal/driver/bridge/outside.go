package bridge

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
)

// gatewayMode checks one family's catenet.GatewayMode.
func gatewayMode(key, value string, internal bool) error {
	modes := []string{string(catenet.GatewayNAT), string(catenet.GatewayUnprotected), string(catenet.GatewayRouted), string(catenet.GatewayIsolated)}
	if !slices.Contains(modes, value) {
		return catenet.Invalidf("option %s: there is no gateway mode %q", key, value).WithHint("modes: %s", strings.Join(modes, ", "))
	}
	if value == string(catenet.GatewayIsolated) && !internal {
		return catenet.Invalidf("option %s: gateway mode 'isolated' can only be used for an internal network", key).WithHint("add --internal")
	}
	return nil
}

// links reads names of the host's links, separated by colons. They need not be
// there yet.
func links(key, value string) ([]string, error) {
	names := strings.FieldsFunc(value, func(r rune) bool { return r == ':' })
	if len(names) == 0 {
		return nil, catenet.Invalidf("option %s names no interface", key).WithHint("it is a list of interfaces of the host, like eth1:vxlan0")
	}
	for _, name := range names {
		if err := catenet.ValidateInterfaceName(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// address reads an address of the host that ports are published on.
func address(key, value string) (netip.Addr, error) {
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsMulticast() {
		return a, catenet.Invalidf("option %s: %q is no address of a host", key, value)
	}
	return a, nil
}

// source reads an address that containers are seen as.
func source(key, value string, four bool) (netip.Addr, error) {
	a, err := address(key, value)
	if err == nil && (a.Is4() != four || a.IsUnspecified() || a.IsLoopback()) {
		family := "IPv6"
		if four {
			family = "IPv4"
		}
		err = catenet.Invalidf("option %s: nobody outside can see a container as %s", key, a).
			WithHint("it is an %s address that the host has, or that is routed to it", family)
	}
	return a, err
}

// gateway is what one family of a network wants of the firewall.
func (o options) gateway(spec catenet.NetworkSpec, four bool) firewall.Gateway {
	g := firewall.Gateway{Mode: spec.Gateway(four), Source: o.host6}
	if four {
		g.Source = o.host4
	}
	g.Masquerade = o.masquerade && !spec.Internal && g.Mode != catenet.GatewayRouted
	return g
}

// warnings are of addresses to be seen as that the host does not have: nobody
// may ever see an answer.
func (o options) warnings(ctx context.Context, h kernel.Host) (warnings []string, err error) {
	for _, a := range []netip.Addr{o.host4, o.host6} {
		if !a.IsValid() {
			continue
		}
		has, err := h.Routes(ctx)
		if err != nil {
			return warnings, fmt.Errorf("read addresses of the host: %w", err)
		}
		if !slices.ContainsFunc(has, func(p netip.Prefix) bool { return p.Addr() == a }) {
			warnings = append(warnings, fmt.Sprintf("%s is no address of this host: what answers containers has to be routed here", a))
		}
	}
	return warnings, nil
}
