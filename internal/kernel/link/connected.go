package link

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// connectedMetric is that of the IPv6 routes that the kernel makes
// (IP6_RT_PRIO_ADDRCONF).
const connectedMetric = 256

// connect plans the routes to the subnets of a link's addresses, where an address
// is there and its route is not. The kernel makes them with the address, and never
// again: who flushes the host's routes takes them along.
func (p *plan) connect(c *conn, cur *info, have []address, want []netip.Prefix) error {
	if !cur.up() { // they come when it is raised
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(want), func(w netip.Prefix) bool {
		return w.IsSingleIP() || !slices.ContainsFunc(have, func(a address) bool { return a.index == cur.index && a.prefix == w })
	})
	if len(missing) == 0 {
		return nil
	}
	known, err := c.connected(cur.index)
	if err != nil {
		return err
	}
	for _, w := range missing {
		if slices.Contains(known, w.Masked()) {
			continue
		}
		// As the kernel does: a route of somebody else's to the same subnet may stay.
		p.step(func(b *batch) { connectedMessage(b, "remove route", unix.RTM_DELROUTE, 0, cur.index, w) },
			"add route to "+w.Masked().String(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, connectedBody(w))
		connectedAttrs(&p.batch, cur.index, w)
	}
	return nil
}

// connected returns where the routes of the main table lead that leave by a link.
func (c *conn) connected(index int) (all []netip.Prefix, err error) {
	err = eachFamily(func(family byte) error {
		before := len(all)
		var b batch
		body := make([]byte, unix.SizeofRtMsg)
		body[0], body[4] = family, unix.RT_TABLE_MAIN
		b.message("list routes", unix.RTM_GETROUTE, 0, body)
		b.u32(unix.RTA_OIF, uint32(index))
		return c.dump(&b, func() { all = all[:before] }, func(m wire.Message) {
			if r, ok := readRoute(m.Data, unix.RT_TABLE_MAIN); ok && r.index == index {
				all = append(all, r.Dst)
			}
		})
	})
	return all, err
}

func connectedMessage(b *batch, what string, kind, flags uint16, index int, a netip.Prefix) {
	b.message(what, kind, flags, connectedBody(a))
	connectedAttrs(b, index, a)
}

// connectedBody is a struct rtmsg.
func connectedBody(a netip.Prefix) []byte {
	scope := byte(unix.RT_SCOPE_LINK)
	if a.Addr().Is6() {
		scope = unix.RT_SCOPE_UNIVERSE
	}
	return []byte{family(a.Addr()), byte(a.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_KERNEL, scope, unix.RTN_UNICAST, 0, 0, 0, 0}
}

func connectedAttrs(b *batch, index int, a netip.Prefix) {
	b.addr(unix.RTA_DST, a.Masked().Addr())
	b.u32(unix.RTA_OIF, uint32(index))
	if a.Addr().Is4() {
		b.addr(unix.RTA_PREFSRC, a.Addr())
	} else {
		b.u32(unix.RTA_PRIORITY, connectedMetric)
	}
}
