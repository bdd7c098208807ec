package bridge

import (
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// detour are routes that lead to an endpoint's own subnets by way of the host:
// the bridge carries nothing from one isolated port to another, not even the
// question for an address. (docs/decisions/links.md)
func detour(ep catenet.Endpoint) []kernel.Route {
	return append(around(ep.IPv4, ep.Gateway4), around(ep.IPv6, ep.Gateway6)...)
}

// around are the routes of one family. Two halves go before the kernel's own
// route to the subnet, whose place nothing else can take.
func around(a netip.Prefix, gateway netip.Addr) []kernel.Route {
	if !a.IsValid() || !gateway.IsValid() || a.IsSingleIP() {
		return nil
	}
	first := a.Masked().Addr()
	raw := first.AsSlice()
	raw[a.Bits()/8] |= 0x80 >> (a.Bits() % 8)
	middle, _ := netip.AddrFromSlice(raw) // of 4 or 16 bytes
	routes := []kernel.Route{{Dst: netip.PrefixFrom(gateway, gateway.BitLen())}}
	for _, at := range []netip.Addr{first, middle} {
		if half := netip.PrefixFrom(at, a.Bits()+1); half != routes[0].Dst {
			routes = append(routes, kernel.Route{Dst: half, Gateway: gateway})
		}
	}
	return routes
}

// siblings are routes that lead to the other subnets of an endpoint's network:
// what is in them is on the bridge too, unless that carries nothing.
func siblings(n catenet.Network, ep catenet.Endpoint, o options) (routes []kernel.Route) {
	for _, p := range n.Pools {
		own, gateway := ep.IPv4, ep.Gateway4
		if p.Subnet.Addr().Is6() {
			own, gateway = ep.IPv6, ep.Gateway6
		}
		if o.icc {
			gateway = netip.Addr{}
		}
		if own.IsValid() && own.Masked() != p.Subnet {
			routes = append(routes, kernel.Route{Dst: p.Subnet, Gateway: gateway})
		}
	}
	return routes
}
