package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// element is one element of one set.
type element struct {
	set string
	nft.Element
}

// key tells an element from all others, and sorts those of one set so that
// the begin of a range comes before its end: the kernel wants them so.
func (e element) key() string {
	if e.End {
		return e.set + " " + e.Key + "e"
	}
	return e.set + " " + e.Key + "s"
}

// chain is the name of one of a network's own chains.
func (n Network) chain(of string) string { return of + "-" + catenet.ShortID(n.ID) }

// family is one family of a network, and what its rules are made of.
type family struct {
	Gateway
	is    []nft.Expr // matches its packets
	nft   nft.Family
	icmp  byte     // protocol number: RFC 792, RFC 4443
	dest  nft.Expr // loads the destination,
	after uint32   // which ends before this register
	open  string   // set of open ports
}

func (n Network) families() []family {
	return []family{
		{n.V4, ip4(), nft.IPv4, 1, dest4(nft.R0), nft.R1, setOpen4},
		{n.V6, ip6(), nft.IPv6, 58, dest6(nft.R0), nft.R4, setOpen6},
	}
}

// chains are the network's own: what depends on its bridge or options.
func (n Network) chains() []nft.Chain {
	chains := []nft.Chain{{Name: n.chain("leave"), Rules: n.leaveRules()}}
	if len(n.Span) > 0 {
		chains = append(chains, nft.Chain{Name: n.chain("enter"), Rules: n.enterRules()})
	}
	if n.Link == "" {
		return chains
	}
	if n.Internal {
		chains = append(chains, nft.Chain{Name: n.chain("out-of"), Rules: n.outOfRules()})
	}
	return append(chains,
		nft.Chain{Name: n.chain("guard"), Rules: n.guardRules()},
		nft.Chain{Name: n.chain("into"), Rules: n.intoRules()})
}

// guardRules: what is sent to a container's own address comes from its own
// bridge, or by a link that is trusted; where nothing is protected, from all
// but our other bridges. (A routed family has no guard: forward knows its open
// ports.) The bridge's own addresses are the host's, and open to all.
func (n Network) guardRules() (rules []nft.Rule) {
	for _, l := range n.Trusted {
		rules = append(rules, rule(iifname(true, l), accept()))
	}
	for _, f := range n.families() {
		if f.Mode == catenet.GatewayUnprotected {
			rules = append(rules, rule(f.is, nft.Meta(nft.MetaIifname, nft.R0), nft.NotIn(setBridges, nft.R0), accept()))
		}
	}
	rules = append(rules, n.passRules()...)
	return append(rules, rule(iifname(false, n.Link), nft.DaddrType(nft.R0), nft.NotEqual(nft.R0, nft.AddrLocal), drop()))
}

// intoRules: what is forwarded to the network's bridge. (With
// bridge-nf-call-iptables that is also what one container sends another.)
func (n Network) intoRules() []nft.Rule {
	var rules []nft.Rule
	switch {
	case n.Internal && n.NoICC:
		rules = append(linkRules(n.Link), rule(iifname(true, n.Link), translated(), accept()))
	case n.Internal:
		rules = []nft.Rule{rule(iifname(true, n.Link), accept())}
	case n.NoICC:
		rules = append(linkRules(n.Link), rule(translated(), accept()))
		rules = append(rules, n.directRules()...)
	default:
		rules = append([]nft.Rule{rule(iifname(true, n.Link), accept()), rule(translated(), accept())}, n.directRules()...)
	}
	return append(append(rules, n.joinRules()...), nft.Rule{drop()})
}

// linkRules: what linked containers of one bridge send each other, by way of
// the host. Nobody elsewhere can send as one of them: guard has stopped that.
func linkRules(bridge string) []nft.Rule {
	return []nft.Rule{
		rule(iifname(true, bridge), ip4(), source4(nft.R0), dest4(nft.R1), l4proto(nft.R2), port(nft.R3),
			nft.Lookup(setLinks4, nft.R0), accept()),
		rule(iifname(true, bridge), ip6(), source6(nft.R0), dest6(nft.R4), l4proto(nft.R8), port(nft.R9),
			nft.Lookup(setLinks6, nft.R0), accept()),
	}
}

// directRules let in what is sent to containers' own addresses from outside.
// The guard has left those who may.
func (n Network) directRules() (rules []nft.Rule) {
	for _, f := range n.families() {
		open := []nft.Expr{f.dest, l4proto(f.after), port(f.after + 1), nft.Lookup(f.open, nft.R0), accept()}
		switch {
		case f.Mode == catenet.GatewayRouted:
			rules = append(rules,
				rule(f.is, l4proto(nft.R0), nft.Equal(nft.R0, []byte{f.icmp}), accept()),
				rule(f.is, open))
		case f.Mode == catenet.GatewayUnprotected:
			rules = append(rules, rule(f.is, accept()))
		case len(n.Trusted) > 0:
			rules = append(rules, rule(f.is, open))
		}
	}
	if n.NoICC && len(rules) > 0 { // no way around by the host
		rules = append([]nft.Rule{rule(iifname(true, n.Link), drop())}, rules...)
	}
	return rules
}

// leaveRules: the source address of what containers send. A container that
// reaches one of its own network, or itself, through a published port is
// hidden, or the answer would not come back the same way; those of another
// network of ours see who it is.
//
// The incoming interface would not do as a match: bridged packets have none
// on the way out.
func (n Network) leaveRules() []nft.Rule {
	var rules []nft.Rule
	if n.Link != "" {
		rules = append(rules, rule(oifname(true, n.Link), translated(), nft.Masquerade()))
	}
	rules = append(rules, rule(nft.Meta(nft.MetaOifname, nft.R0), nft.Lookup(setBridges, nft.R0), accept()))
	rules = append(rules, n.stayRules()...)
	for _, f := range n.families() {
		switch {
		case n.Internal || !f.Masquerade: // nothing gets here, or as it is
		case f.Source.IsValid():
			rules = append(rules, rule(f.is, nft.Immediate(nft.R0, f.Source.AsSlice()), nft.SNAT(f.nft, nft.R0)))
		default:
			rules = append(rules, rule(f.is, nft.Masquerade()))
		}
	}
	return rules
}

// elements are the network's places in the common sets.
func (n Network) elements() []element {
	els := n.spanElements()
	if n.Link == "" {
		return els
	}
	link := string(nft.Ifname(n.Link))
	to := func(of string) nft.Verdict { return nft.Verdict{Code: nft.Goto, Chain: n.chain(of)} }
	els = append(els,
		element{setBridges, nft.Element{Key: link}},
		element{setInto, nft.Element{Key: link, Verdict: to("into")}})
	if n.Internal { // a jump: what may leave has still to be let in
		els = append(els, element{setOutOf, nft.Element{Key: link, Verdict: nft.Verdict{Code: nft.Jump, Chain: n.chain("out-of")}}})
	}
	if n.V4.Mode == catenet.GatewayIsolated {
		els = append(els, element{setIsolated, nft.Element{Key: link}})
	}
	for _, s := range n.Subnets {
		dst, src, mode := setSubnets4, setSources4, n.V4.Mode
		if s.Addr().Is6() {
			dst, src, mode = setSubnets6, setSources6, n.V6.Mode
		}
		if mode != catenet.GatewayRouted {
			els = append(els, interval(dst, s, to("guard"))...)
		}
		els = append(els, interval(src, s, to("leave"))...)
	}
	return els
}

// interval is a subnet as the bounds of a range: its first address, and the
// first one after it, if there is one.
func interval(set string, p netip.Prefix, v nft.Verdict) []element {
	first := p.Masked().Addr().AsSlice()
	els := []element{{set, nft.Element{Key: string(first), Verdict: v}}}
	for bit := p.Bits(); bit < 8*len(first); bit++ {
		first[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(first) // of 4 or 16 bytes
	if after := last.Next(); after.IsValid() {
		els = append(els, element{set, nft.Element{Key: string(after.AsSlice()), End: true}})
	}
	return els
}

// elements are the port's places in the common sets.
func (p Port) elements() []element {
	proto := string([]byte{p.Proto.Number(), 0, 0, 0})
	service, addr, port := proto+port16(p.HostPort), string(p.To.Addr().AsSlice()), port16(p.To.Port())
	open, exact, anywhere, loopback := setOpen4, setPorts4, setAny4, setLoopback4
	if p.To.Addr().Is6() {
		open, exact, anywhere, loopback = setOpen6, setPorts6, setAny6, setLoopback6
	}
	els := []element{{open, nft.Element{Key: addr + proto + port}}}
	switch {
	case p.HostPort == 0:
		return els
	case p.HostIP.IsLoopback():
		return append(els, element{loopback, nft.Element{Key: service}})
	case p.HostIP.IsUnspecified():
		return append(els, element{anywhere, nft.Element{Key: service, Value: addr + port}},
			element{loopback, nft.Element{Key: service}})
	}
	return append(els, element{exact, nft.Element{Key: string(p.HostIP.AsSlice()) + service, Value: addr + port}})
}

// elements is the link's place in the common sets.
func (l Link) elements() []element {
	set := setLinks4
	if l.From.Is6() {
		set = setLinks6
	}
	key := slices.Concat(l.From.AsSlice(), l.To.Addr().AsSlice(), []byte{l.Proto.Number(), 0, 0, 0})
	return []element{{set, nft.Element{Key: string(key) + port16(l.To.Port())}}}
}

// port16 is a port in a register of its own.
func port16(p uint16) string {
	return string(append(binary.BigEndian.AppendUint16(nil, p), 0, 0))
}
