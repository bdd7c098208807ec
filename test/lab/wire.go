package lab

import (
	"fmt"
	"net/netip"
)

// Join lays a wire between two hosts. The first has the first address of
// each subnet, the second the second.
func (l *Lab) Join(a, b *Host, cidrs ...string) {
	l.T.Helper()
	l.wires++
	an, bn := fmt.Sprintf("eth%d", len(a.links())), fmt.Sprintf("eth%d", len(b.links()))
	a.MustRun("ip", "link", "add", an, "type", "veth", "peer", "name", bn, "netns", b.NS.Path)
	a.address(an, cidrs, 1)
	b.address(bn, cidrs, 2)
}

// Switch joins any number of hosts by a switch, which it returns: port n (from 0) leads
// to host n, which has address n+1 of each subnet.
func (l *Lab) Switch(hosts []*Host, cidrs ...string) *Host {
	l.T.Helper()
	sw := l.Host(fmt.Sprintf("switch%d", l.wires))
	l.wires++
	sw.MustRun("ip", "link", "add", "name", "sw0", "type", "bridge")
	sw.MustRun("ip", "link", "set", "sw0", "up")
	for i, h := range hosts {
		port, name := fmt.Sprintf("port%d", i), fmt.Sprintf("eth%d", len(h.links()))
		h.MustRun("ip", "link", "add", name, "type", "veth", "peer", "name", port, "netns", sw.NS.Path)
		sw.MustRun("ip", "link", "set", port, "master", "sw0", "up")
		h.address(name, cidrs, i+1)
	}
	return sw
}

// address gives a link its addresses and raises it.
func (h *Host) address(link string, cidrs []string, number int) {
	h.lab.T.Helper()
	// Not duplicate address detection, which takes two seconds, but only of
	// the wire: that our own links do not wait for it is ours to prove.
	h.MustRun("sysctl", "-qw", "net.ipv6.conf."+link+".accept_dad=0")
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			h.lab.T.Fatal(err)
		}
		addr := p.Masked().Addr()
		for range number {
			addr = addr.Next()
		}
		h.MustRun("ip", "addr", "add", netip.PrefixFrom(addr, p.Bits()).String(), "dev", link, "nodad")
		switch {
		case addr.Is4() && !h.Addr4.IsValid():
			h.Addr4 = addr
		case addr.Is6() && !h.Addr6.IsValid():
			h.Addr6 = addr
		}
	}
	h.MustRun("ip", "link", "set", link, "up")
}

// Via sets a host's default routes, through another's addresses.
func (h *Host) Via(router *Host) {
	h.lab.T.Helper()
	for _, a := range []netip.Addr{router.Addr4, router.Addr6} {
		if a.IsValid() {
			h.MustRun("ip", "route", "replace", "default", "via", a.String())
		}
	}
}
