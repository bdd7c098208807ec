package link

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// ipv6Metric is what the kernel makes of an IPv6 route without a metric
// (IP6_RT_PRIO_USER).
const ipv6Metric = 1024

// normal returns the route as the kernel would tell it.
func normal(r kernel.Route) kernel.Route {
	r.Dst = r.Dst.Masked()
	if r.Metric == 0 && r.Dst.Addr().Is6() {
		r.Metric = ipv6Metric
	}
	return r
}

// addRoutes plans those of want's routes that are missing. One of ours that
// has the place (destination and metric) is replaced in one step; somebody
// else's is left, and the place is a conflict.
func (p *plan) addRoutes(on *info, want kernel.Interface, have []route) error {
	for _, w := range want.Routes {
		w := route{normal(w), on.index, kernel.RouteProtocol}
		if slices.Contains(have, w) {
			continue
		}
		var flags uint16 = unix.NLM_F_CREATE | unix.NLM_F_EXCL
		undo := func(b *batch) { routeMessage(b, "remove route", unix.RTM_DELROUTE, 0, w, want.Addrs) }
		for _, r := range have {
			if r.Dst != w.Dst || r.Metric != w.Metric {
				continue
			}
			if r.protocol != kernel.RouteProtocol {
				return catenet.Conflictf("the namespace has a route to %s already", w.Dst).
					WithHint("remove it (ip route del, inside), or join networks that are --internal: those bring no default route")
			}
			flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
			undo = func(b *batch) {
				routeMessage(b, "restore route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r, nil)
			}
			break
		}
		p.step(undo, "add route to "+w.Dst.String(), unix.RTM_NEWROUTE, flags, routeBody(w, want.Addrs))
		routeAttrs(&p.batch, w)
	}
	return nil
}

// dropRoutes plans the end of our other routes by that link.
func (p *plan) dropRoutes(on *info, want kernel.Interface, have []route) {
	for _, r := range have {
		if r.index != on.index || r.protocol != kernel.RouteProtocol {
			continue
		}
		if slices.ContainsFunc(want.Routes, func(w kernel.Route) bool { return normal(w) == r.Route }) {
			continue
		}
		p.step(func(b *batch) { routeMessage(b, "restore route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE, r, nil) },
			"remove route to "+r.Dst.String(), unix.RTM_DELROUTE, 0, routeBody(r, nil))
		routeAttrs(&p.batch, r)
	}
}

func routeMessage(b *batch, what string, kind, flags uint16, r route, near []netip.Prefix) {
	b.message(what, kind, flags, routeBody(r, near))
	routeAttrs(b, r)
}

// routeBody is a struct rtmsg. near are the addresses of the link: a gateway
// that none of them reaches is said to be on the link nevertheless.
func routeBody(r route, near []netip.Prefix) []byte {
	var flags uint32
	if r.Gateway.IsValid() && near != nil && !slices.ContainsFunc(near, func(a netip.Prefix) bool { return a.Contains(r.Gateway) }) {
		flags = unix.RTNH_F_ONLINK
	}
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if !r.Gateway.IsValid() {
		scope = unix.RT_SCOPE_LINK
	}
	body := []byte{family(r.Dst.Addr()), byte(r.Dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, r.protocol, scope, unix.RTN_UNICAST}
	return native.AppendUint32(body, flags)
}

func routeAttrs(b *batch, r route) {
	if r.Dst.Bits() > 0 {
		b.addr(unix.RTA_DST, r.Dst.Addr())
	}
	if r.Gateway.IsValid() {
		b.addr(unix.RTA_GATEWAY, r.Gateway)
	}
	b.u32(unix.RTA_OIF, uint32(r.index))
	if r.Metric != 0 {
		b.u32(unix.RTA_PRIORITY, uint32(r.Metric))
	}
}
