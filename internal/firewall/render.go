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

// chains are the network's own: what depends on its bridge or options.
func (n Network) chains() []nft.Chain {
	chains := []nft.Chain{
		// Arriving: only from its own bridge; the bridge's own addresses are
		// the host's, and open to all.
		{Name: n.chain("guard"), Rules: []nft.Rule{
			rule(iifname(false, n.Link), nft.DaddrType(nft.R0), nft.NotEqual(nft.R0, nft.AddrLocal), drop()),
		}},
		{Name: n.chain("into"), Rules: n.intoRules()},
		{Name: n.chain("leave"), Rules: n.leaveRules()},
	}
	if n.Internal {
		chains = append(chains, nft.Chain{Name: n.chain("out-of"), Rules: []nft.Rule{
			rule(oifname(false, n.Link), drop()),
		}})
	}
	return chains
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
	default:
		rules = []nft.Rule{rule(iifname(true, n.Link), accept()), rule(translated(), accept())}
	}
	return append(rules, nft.Rule{drop()})
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

// leaveRules: the source address of what containers send. A container that
// reaches one of its own network, or itself, through a published port is
// hidden, or the answer would not come back the same way; those of another
// network of ours see who it is.
//
// The incoming interface would not do as a match: bridged packets have none
// on the way out.
func (n Network) leaveRules() []nft.Rule {
	rules := []nft.Rule{
		rule(oifname(true, n.Link), translated(), nft.Masquerade()),
		rule(nft.Meta(nft.MetaOifname, nft.R0), nft.Lookup(setBridges, nft.R0), accept()),
	}
	switch {
	case n.Internal: // nothing gets here
	case n.Masquerade4 && n.Masquerade6:
		rules = append(rules, nft.Rule{nft.Masquerade()})
	case n.Masquerade4:
		rules = append(rules, rule(ip4(), nft.Masquerade()))
	case n.Masquerade6:
		rules = append(rules, rule(ip6(), nft.Masquerade()))
	}
	return rules
}

// elements are the network's places in the common sets.
func (n Network) elements() []element {
	link := string(nft.Ifname(n.Link))
	to := func(of string) nft.Verdict { return nft.Verdict{Code: nft.Goto, Chain: n.chain(of)} }
	els := []element{
		{setBridges, nft.Element{Key: link}},
		{setInto, nft.Element{Key: link, Verdict: to("into")}},
	}
	if n.Internal { // a jump: what may leave has still to be let in
		els = append(els, element{setOutOf, nft.Element{Key: link, Verdict: nft.Verdict{Code: nft.Jump, Chain: n.chain("out-of")}}})
	}
	for _, s := range n.Subnets {
		dst, src := setSubnets4, setSources4
		if s.Addr().Is6() {
			dst, src = setSubnets6, setSources6
		}
		els = append(els, interval(dst, s, to("guard"))...)
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
	service := string([]byte{p.Proto.Number(), 0, 0, 0}) + port16(p.HostPort)
	to := string(p.To.Addr().AsSlice()) + port16(p.To.Port())
	exact, anywhere, loopback := setPorts4, setAny4, setLoopback4
	if p.HostIP.Is6() {
		exact, anywhere, loopback = setPorts6, setAny6, setLoopback6
	}
	switch {
	case p.HostIP.IsLoopback():
		return []element{{loopback, nft.Element{Key: service}}}
	case p.HostIP.IsUnspecified():
		return []element{
			{anywhere, nft.Element{Key: service, Value: to}},
			{loopback, nft.Element{Key: service}},
		}
	}
	return []element{{exact, nft.Element{Key: string(p.HostIP.AsSlice()) + service, Value: to}}}
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
