package bridge

import (
	"maps"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// acceptRedirects says whether a container heeds who tells it of a shorter way.
const acceptRedirects = "net.ipv6.conf.IFNAME.accept_redirects"

// detour gives an endpoint's inside routes that lead to its own subnets by way
// of the host: the bridge carries nothing from one isolated port to another, not
// even the question for an address. The host tells (RFC 4861, section 8; nothing
// turns it off) that there is a shorter way, which leads nowhere. By IPv4 nobody
// takes it whose question for the address stays unanswered; by IPv6 the answer
// is told along. (docs/decisions/links.md)
func detour(inside *kernel.Interface, ep catenet.Endpoint) {
	inside.Routes = append(inside.Routes, around(ep.IPv4, ep.Gateway4)...)
	inside.Routes = append(inside.Routes, around(ep.IPv6, ep.Gateway6)...)
	if !ep.IPv6.IsValid() {
		return
	}
	asked := inside.Sysctls
	inside.Sysctls = map[string]string{acceptRedirects: "0"}
	maps.Copy(inside.Sysctls, asked)
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
