package firewall

import (
	"net"
	"net/netip"

	"github.com/catenet/catenet/internal/kernel/nft"
)

// within matches packets whose address is in a prefix: source or destination, as
// load4 or load6 loads it.
func within(p netip.Prefix, load4, load6 func(reg uint32) nft.Expr) []nft.Expr {
	match, load := ip4(), load4
	if p.Addr().Is6() {
		match, load = ip6(), load6
	}
	return append(match, load(nft.R0), nft.Mask(nft.R0, net.CIDRMask(p.Bits(), p.Addr().BitLen())),
		nft.Equal(nft.R0, p.Masked().Addr().AsSlice()))
}

func from(p netip.Prefix) []nft.Expr { return within(p, source4, source6) }
func to(p netip.Prefix) []nft.Expr   { return within(p, dest4, dest6) }

// multicast is what never leaves a link (RFC 5771).
var multicast = netip.MustParsePrefix("224.0.0.0/4")

// passRules let in, before anything is translated, who comes from another host's
// part of the network, or is such a host.
func (n Network) passRules() []nft.Rule {
	return n.crossRules(
		append(append(ip4(), source4(nft.R0)), nft.Lookup(setHosts4, nft.R0)),
		append(append(ip6(), source6(nft.R0)), nft.Lookup(setHosts6, nft.R0)))
}

// joinRules let the same in, of this network alone, when it is forwarded.
func (n Network) joinRules() []nft.Rule {
	return n.crossRules(
		append(append(ip4(), source4(nft.R0)), nft.Meta(nft.MetaOifname, nft.R1), nft.Lookup(setParts4, nft.R0)),
		append(append(ip6(), source6(nft.R0)), nft.Meta(nft.MetaOifname, nft.R4), nft.Lookup(setParts6, nft.R0)))
}

// crossRules accept what comes by one of the network's links and is of its span,
// or of a host.
func (n Network) crossRules(host4, host6 []nft.Expr) (rules []nft.Rule) {
	if n.NoICC {
		return nil
	}
	for _, l := range n.By {
		for _, p := range n.Span {
			rules = append(rules, rule(iifname(true, l), from(p), accept()))
		}
		if len(n.Hosts) > 0 {
			rules = append(rules, rule(iifname(true, l), host4, accept()), rule(iifname(true, l), host6, accept()))
		}
	}
	return rules
}

// outOfRules keep an internal network to itself, on all its hosts.
func (n Network) outOfRules() (rules []nft.Rule) {
	for _, l := range n.By {
		for _, p := range n.Span {
			rules = append(rules, rule(oifname(true, l), to(p), accept()))
		}
	}
	return append(rules, rule(oifname(false, n.Link), drop()))
}

// stayRules end the chain for what is sent from one part of the network to
// another, and for what is sent to many.
func (n Network) stayRules() (rules []nft.Rule) {
	for _, p := range n.Span {
		rules = append(rules, rule(to(p), accept()))
	}
	if len(n.Span) > 0 && n.V4.Masquerade {
		rules = append(rules, rule(to(multicast), accept()))
	}
	return rules
}

// enterRules: others that reach another host's containers by way of this one are
// hidden, or the answer would come back another way.
func (n Network) enterRules() (rules []nft.Rule) {
	for _, p := range n.Span {
		rules = append(rules, rule(from(p), accept()))
	}
	for _, p := range n.Subnets {
		rules = append(rules, rule(to(p), accept()))
	}
	for _, f := range n.families() {
		if f.Masquerade {
			rules = append(rules, rule(f.is, nft.Masquerade()))
		}
	}
	return rules
}

// spanElements are the places of a network of several hosts in the common sets.
func (n Network) spanElements() (els []element) {
	for _, p := range n.Span {
		enter := nft.Verdict{Code: nft.Goto, Chain: n.chain("enter")}
		leave := nft.Verdict{Code: nft.Goto, Chain: n.chain("leave")}
		spans, sources := setSpans4, setSources4
		if p.Addr().Is6() {
			spans, sources = setSpans6, setSources6
		}
		els = append(els, interval(spans, p, enter)...)
		if n.Link == "" {
			els = append(els, interval(sources, p, leave)...)
		}
	}
	if n.Link == "" {
		return els
	}
	for _, h := range n.Hosts {
		hosts, parts := setHosts4, setParts4
		if h.Is6() {
			hosts, parts = setHosts6, setParts6
		}
		key := string(h.AsSlice())
		els = append(els, element{hosts, nft.Element{Key: key}}, element{parts, nft.Element{Key: key + string(nft.Ifname(n.Link))}})
	}
	return els
}
