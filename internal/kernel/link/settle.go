package link

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// aim is how a link should be, on the host or inside a namespace.
type aim struct {
	name, alias string
	mtu         int
	mac         net.HardwareAddr
	down        bool   // a new link is not raised
	master      int    // index
	port        *port  // nil: leave it
	gate        string // name of the bridge, for an isolated port
	vxlan       *vxlan // for that kind
	addrs       []netip.Prefix
	noIPv6      bool
	noLinkLocal bool
	sysctls     map[string]string
}

// port is how a bridge treats a link of its own (IFLA_BRPORT_*).
type port struct{ isolated, hairpin bool }

func hasIPv6(addrs []netip.Prefix) bool {
	return slices.ContainsFunc(addrs, func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// settle plans what makes the link cur, which has the addresses have, as it
// should be.
func (p *plan) settle(cur *info, have []address, want aim) error {
	if err := p.planSysctls(cur.name, wantSysctls(want.noIPv6, hasIPv6(want.addrs), want.sysctls)); err != nil {
		return err
	}
	if want.noLinkLocal && cur.six && cur.addrGen != addrGenNone { // before it is up
		old := cur.addrGen
		p.step(func(b *batch) {
			b.message("restore link", unix.RTM_NEWLINK, 0, ifinfo(cur.index, 0, 0))
			addrGenAttr(b, old)
		}, "set link "+cur.name, unix.RTM_NEWLINK, 0, ifinfo(cur.index, 0, 0))
		addrGenAttr(&p.batch, addrGenNone)
	}
	p.settleLink(cur, want)
	if want.port != nil && (cur.master != want.master || *want.port != port{cur.isolated, cur.hairpin}) {
		p.step(nil, "set bridge port "+cur.name, unix.RTM_NEWLINK, 0, ifinfo(cur.index, 0, 0))
		portAttr(&p.batch, *want.port)
	}
	p.settleAddrs(cur, have, want)
	return nil
}

// settleLink plans one message with the attributes that differ.
func (p *plan) settleLink(cur *info, want aim) {
	var attrs, back batch
	if want.name != cur.name {
		attrs.str(unix.IFLA_IFNAME, want.name)
		back.str(unix.IFLA_IFNAME, cur.name)
	}
	if want.alias != cur.alias {
		attrs.attr(unix.IFLA_IFALIAS, []byte(want.alias))
		back.attr(unix.IFLA_IFALIAS, []byte(cur.alias))
	}
	if want.mtu != 0 && want.mtu != cur.mtu {
		attrs.u32(unix.IFLA_MTU, uint32(want.mtu))
		back.u32(unix.IFLA_MTU, uint32(cur.mtu))
	}
	if want.mac != nil && !bytes.Equal(want.mac, cur.mac) {
		attrs.attr(unix.IFLA_ADDRESS, want.mac)
		back.attr(unix.IFLA_ADDRESS, cur.mac)
	}
	if want.master != cur.master {
		attrs.u32(unix.IFLA_MASTER, uint32(want.master))
		back.u32(unix.IFLA_MASTER, uint32(cur.master))
	}
	var change uint32
	if !cur.up() {
		change = unix.IFF_UP
	}
	if len(attrs.buf) == 0 && change == 0 {
		return
	}
	p.step(func(b *batch) {
		b.message("restore link", unix.RTM_NEWLINK, 0, ifinfo(cur.index, 0, change))
		b.buf = append(b.buf, back.buf...)
	}, "set link "+cur.name, unix.RTM_NEWLINK, 0, ifinfo(cur.index, change, change))
	p.batch.buf = append(p.batch.buf, attrs.buf...)
}

// settleAddrs plans the addresses. Those that others added stay, save on a link
// that is taken over from them; ours are told by their protocol (IFA_PROTO, Linux
// 5.18), which is that of our routes.
func (p *plan) settleAddrs(cur *info, have []address, aim aim) {
	want, taken := aim.addrs, cur.left(aim)
	var missing []netip.Prefix
	for _, w := range want {
		if !slices.ContainsFunc(have, func(a address) bool { return a.index == cur.index && a.prefix == w }) {
			missing = append(missing, w)
		}
	}
	for _, a := range have {
		if a.index != cur.index || slices.Contains(want, a.prefix) {
			continue
		}
		// One address cannot be there with two lengths.
		blocks := slices.ContainsFunc(missing, func(m netip.Prefix) bool { return m.Addr() == a.prefix.Addr() })
		if a.ours || blocks || taken && !a.prefix.Addr().IsLinkLocalUnicast() {
			p.step(func(b *batch) { addrMessage(b, "restore address", unix.RTM_NEWADDR, cur.index, a.prefix) },
				"remove address "+a.prefix.String(), unix.RTM_DELADDR, 0, addrBody(cur.index, a.prefix))
			addrAttrs(&p.batch, a.prefix)
		}
	}
	for _, w := range missing {
		p.step(func(b *batch) { addrMessage(b, "remove address", unix.RTM_DELADDR, cur.index, w) },
			"add address "+w.String()+" to "+cur.name, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, addrBody(cur.index, w))
		addrAttrs(&p.batch, w)
	}
}

func addrGenAttr(b *batch, mode uint8) {
	families := b.nest(unix.IFLA_AF_SPEC | unix.NLA_F_NESTED)
	six := b.nest(unix.AF_INET6 | unix.NLA_F_NESTED)
	b.attr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{mode})
	b.end(six)
	b.end(families)
}

func portAttr(b *batch, p port) {
	kind := b.nest(unix.IFLA_LINKINFO | unix.NLA_F_NESTED)
	b.str(unix.IFLA_INFO_SLAVE_KIND, "bridge")
	data := b.nest(unix.IFLA_INFO_SLAVE_DATA | unix.NLA_F_NESTED)
	b.flag(unix.IFLA_BRPORT_ISOLATED, p.isolated)
	b.flag(unix.IFLA_BRPORT_MODE, p.hairpin)
	b.end(data)
	b.end(kind)
}

func addrMessage(b *batch, what string, kind uint16, index int, a netip.Prefix) {
	var flags uint16
	if kind == unix.RTM_NEWADDR {
		flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	b.message(what, kind, flags, addrBody(index, a))
	addrAttrs(b, a)
}

// addrBody is a struct ifaddrmsg.
func addrBody(index int, a netip.Prefix) []byte {
	body := []byte{family(a.Addr()), byte(a.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	return native.AppendUint32(body, uint32(index))
}

func addrAttrs(b *batch, a netip.Prefix) {
	raw := a.Addr().AsSlice()
	b.attr(unix.IFA_LOCAL, raw)
	b.attr(unix.IFA_ADDRESS, raw)
	b.attr(ifaProto, []byte{kernel.RouteProtocol})
	if a.Addr().Is6() {
		b.u32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
	} else if a.Bits() < 31 { // RFC 3021: a /31 has no broadcast address
		b.attr(unix.IFA_BROADCAST, broadcast(a))
	}
}

// broadcast returns the last address of an IPv4 subnet.
func broadcast(a netip.Prefix) []byte {
	raw := a.Addr().As4()
	n := uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3])
	n |= 1<<(32-a.Bits()) - 1
	return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
