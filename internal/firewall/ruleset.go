package firewall

import (
	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// Our two tables. Everything is in the first; the second stops router
// advertisements, which no IP table sees on a plain bridge.
var (
	inetTable   = nft.Ref{Family: nft.Inet, Name: "catenet"}
	bridgeTable = nft.Ref{Family: nft.Bridge, Name: "catenet"}
	// Where others filter what is forwarded by iptables.
	filterTable4 = nft.Ref{Family: nft.IPv4, Name: "filter"}
	filterTable6 = nft.Ref{Family: nft.IPv6, Name: "filter"}
)

// Sets and maps of the inet table. They hold all that grows; the rules of
// the base chains are fixed, so that a packet costs the same among many
// networks and ports as among few.
const (
	setBridges   = "bridges"   // our bridges
	setSubnets4  = "subnets4"  // destination in a network: its guard chain
	setSubnets6  = "subnets6"  //
	setSources4  = "sources4"  // source in a network: its leave chain
	setSources6  = "sources6"  //
	setSpans4    = "spans4"    // destination in a network of several hosts: its enter chain
	setSpans6    = "spans6"    //
	setHosts4    = "hosts4"    // other hosts of networks
	setHosts6    = "hosts6"    //
	setParts4    = "parts4"    // other host . bridge of a network that it has a part of
	setParts6    = "parts6"    //
	setInto      = "into"      // outgoing bridge: its into chain
	setOutOf     = "out-of"    // incoming bridge of an internal network: its out-of chain
	setIsolated  = "isolated"  // bridges whose IPv4 is isolated
	setOpen4     = "open4"     // container . protocol . published port
	setOpen6     = "open6"     //
	setPorts4    = "ports4"    // address . protocol . port → container
	setPorts6    = "ports6"    //
	setAny4      = "any4"      // protocol . port, on every address of the host → container
	setAny6      = "any6"      //
	setLoopback4 = "loopback4" // protocol . port served on loopback addresses
	setLoopback6 = "loopback6" //
	setLinks4    = "links4"    // linking address . linked address . protocol . port
	setLinks6    = "links6"    //
)

var (
	protoPort = nft.Concat(nft.TypeProto, nft.TypeService)
	target4   = nft.Concat(nft.TypeAddr4, nft.TypeService)
	target6   = nft.Concat(nft.TypeAddr6, nft.TypeService)
	addrPort4 = nft.Concat(nft.TypeAddr4, nft.TypeProto, nft.TypeService)
	addrPort6 = nft.Concat(nft.TypeAddr6, nft.TypeProto, nft.TypeService)
	link4     = nft.Concat(nft.TypeAddr4, nft.TypeAddr4, nft.TypeProto, nft.TypeService)
	link6     = nft.Concat(nft.TypeAddr6, nft.TypeAddr6, nft.TypeProto, nft.TypeService)
)

func sets() []nft.Set {
	return []nft.Set{
		{Name: setBridges, Key: nft.TypeIfname},
		{Name: setSubnets4, Interval: true, Key: nft.TypeAddr4, Data: nft.TypeVerdict},
		{Name: setSubnets6, Interval: true, Key: nft.TypeAddr6, Data: nft.TypeVerdict},
		{Name: setSources4, Interval: true, Key: nft.TypeAddr4, Data: nft.TypeVerdict},
		{Name: setSources6, Interval: true, Key: nft.TypeAddr6, Data: nft.TypeVerdict},
		{Name: setSpans4, Interval: true, Key: nft.TypeAddr4, Data: nft.TypeVerdict},
		{Name: setSpans6, Interval: true, Key: nft.TypeAddr6, Data: nft.TypeVerdict},
		{Name: setHosts4, Key: nft.TypeAddr4},
		{Name: setHosts6, Key: nft.TypeAddr6},
		{Name: setParts4, Key: nft.Concat(nft.TypeAddr4, nft.TypeIfname)},
		{Name: setParts6, Key: nft.Concat(nft.TypeAddr6, nft.TypeIfname)},
		{Name: setInto, Key: nft.TypeIfname, Data: nft.TypeVerdict},
		{Name: setOutOf, Key: nft.TypeIfname, Data: nft.TypeVerdict},
		{Name: setIsolated, Key: nft.TypeIfname},
		{Name: setOpen4, Key: addrPort4},
		{Name: setOpen6, Key: addrPort6},
		{Name: setPorts4, Key: addrPort4, Data: target4},
		{Name: setPorts6, Key: addrPort6, Data: target6},
		{Name: setAny4, Key: protoPort, Data: target4},
		{Name: setAny6, Key: protoPort, Data: target6},
		{Name: setLoopback4, Key: protoPort},
		{Name: setLoopback6, Key: protoPort},
		{Name: setLinks4, Key: link4},
		{Name: setLinks6, Key: link6},
	}
}

// skeleton is our ruleset when there is no network and no port.
func skeleton(caps nft.Caps) []nft.Table {
	var flags uint32
	if caps.Owner {
		flags = nft.Owner | nft.Persist
	}
	tables := []nft.Table{{Ref: inetTable, Flags: flags, Chains: baseChains(), Sets: sets()}}
	if caps.Bridge {
		tables = append(tables, nft.Table{Ref: bridgeTable, Flags: flags, Chains: bridgeChains()})
	}
	return tables
}

// baseChains are entered by the kernel.
//
// Priorities: guard runs after conntrack (-200), whose word it needs, and
// before any DNAT (-100), ours or others', because after it nobody can tell
// any more what the packet was sent to. forward runs at filter (0), where
// people look for it: a drop is final in any order, and an accept ends only
// our own chain, so the order among the tables does not matter there.
//
// No chain has a policy of drop: what is not ours passes.
func baseChains() []nft.Chain {
	return []nft.Chain{
		{Name: "guard", Hook: hook("filter", nft.PreRouting, -150), Rules: guardRules()},
		{Name: "prerouting", Hook: hook("nat", nft.PreRouting, -100), Rules: []nft.Rule{{jump("publish")}}},
		{Name: "output", Hook: hook("nat", nft.Output, -100), Rules: []nft.Rule{{jump("publish")}}},
		{Name: "publish", Rules: publishRules()},
		{Name: "forward", Hook: hook("filter", nft.Forward, 0), Rules: []nft.Rule{
			established(),
			{nft.Meta(nft.MetaIifname, nft.R0), nft.LookupVerdict(setOutOf, nft.R0)},
			{nft.Meta(nft.MetaOifname, nft.R0), nft.LookupVerdict(setInto, nft.R0)},
		}},
		{Name: "input", Hook: hook("filter", nft.Input, 0), Rules: inputRules()},
		{Name: "postrouting", Hook: hook("nat", nft.PostRouting, 100), Rules: []nft.Rule{
			rule(ip4(), source4(nft.R0), nft.LookupVerdict(setSources4, nft.R0)),
			rule(ip6(), source6(nft.R0), nft.LookupVerdict(setSources6, nft.R0)),
			rule(ip4(), dest4(nft.R0), nft.LookupVerdict(setSpans4, nft.R0)),
			rule(ip6(), dest6(nft.R0), nft.LookupVerdict(setSpans6, nft.R0)),
		}},
	}
}

// beforeIP is the priority of bridge chains that br_netfilter must not pass
// by: where it hands a frame to the IP hooks, at priority 0, the frame comes
// back behind those of 0 (NF_BR_PRI_FILTER_BRIDGED).
const beforeIP = -200

func hook(typ string, num uint32, priority int32) *nft.Hook {
	return &nft.Hook{Type: typ, Num: num, Priority: priority, Policy: uint32(nft.Accept)}
}

// heartbeat is the type of a chunk of SCTP that asks whether an address is
// reached (RFC 9260, section 3.3.5).
const heartbeat = 4

// guardRules drop, before anything is translated, what nobody outside may
// send: packets to a container's own address, and to a port published on a
// loopback address (which reach it where route_localnet is set).
func guardRules() []nft.Rule {
	return []nft.Rule{
		established(),
		rule(l4proto(nft.R0), nft.Equal(nft.R0, []byte{catenet.SCTP.Number()}),
			nft.Payload(nft.Transport, 12, 1, nft.R0), nft.Equal(nft.R0, []byte{heartbeat}),
			nft.Meta(nft.MetaIifname, nft.R0), nft.Lookup(setBridges, nft.R0),
			nft.DaddrType(nft.R0), nft.Equal(nft.R0, nft.AddrLocal), drop()),
		rule(ip4(), dest4(nft.R0), nft.LookupVerdict(setSubnets4, nft.R0)),
		rule(ip6(), dest6(nft.R0), nft.LookupVerdict(setSubnets6, nft.R0)),
		rule(iifname(false, "lo"), ip4(), loopback4(),
			l4proto(nft.R0), port(nft.R1), nft.Lookup(setLoopback4, nft.R0), drop()),
		rule(iifname(false, "lo"), ip6(), loopback6(),
			l4proto(nft.R0), port(nft.R1), nft.Lookup(setLoopback6, nft.R0), drop()),
	}
}

// inputRules drop what a container of an isolated network sends to the host:
// IPv4 alone, as its bridge has no IPv6 at all. (The kernel answers ARP for each
// of its addresses on every link, also for the gateways of other networks, and
// takes broadcasts and multicasts where it has no address.)
func inputRules() []nft.Rule {
	return []nft.Rule{
		rule(nft.Meta(nft.MetaIifname, nft.R0), nft.NotIn(setIsolated, nft.R0), accept()),
		established(),
		rule(ip4(), drop()),
	}
}

// publishRules translate published ports. Only addresses of the host count,
// loopback excepted: what the host itself sends there is translated before
// it becomes a packet.
func publishRules() []nft.Rule {
	return []nft.Rule{
		{nft.DaddrType(nft.R0), nft.NotEqual(nft.R0, nft.AddrLocal), verdict(nft.Return)},
		rule(ip4(), loopback4(), verdict(nft.Return)),
		rule(ip6(), loopback6(), verdict(nft.Return)),
		rule(ip4(), dest4(nft.R0), l4proto(nft.R1), port(nft.R2),
			nft.LookupTo(setPorts4, nft.R0, nft.R0), nft.DNAT(nft.IPv4, nft.R0, nft.R1)),
		rule(ip4(), l4proto(nft.R0), port(nft.R1),
			nft.LookupTo(setAny4, nft.R0, nft.R0), nft.DNAT(nft.IPv4, nft.R0, nft.R1)),
		rule(ip6(), dest6(nft.R0), l4proto(nft.R4), port(nft.R5),
			nft.LookupTo(setPorts6, nft.R0, nft.R0), nft.DNAT(nft.IPv6, nft.R0, nft.R4)),
		rule(ip6(), l4proto(nft.R0), port(nft.R1),
			nft.LookupTo(setAny6, nft.R0, nft.R0), nft.DNAT(nft.IPv6, nft.R0, nft.R4)),
	}
}

// bridgeChains stop router advertisements (RFC 4861, type 134) from
// containers, to each other and to the host (CVE-2020-13401). The cheapest
// question that says no comes first: these rules see every frame. The kernel
// takes off one tag of a VLAN before them, and where the frame arrives further ones
// of VLAN 0, which is none: what hides behind a second tag goes too.
func bridgeChains() []nft.Chain {
	ofContainer := []nft.Expr{nft.Meta(nft.MetaIifname, nft.R0), nft.Equal(nft.R0, []byte(kernel.EndpointLinkPrefix))}
	protocol := func(ethertype ...byte) []nft.Expr {
		return []nft.Expr{nft.Meta(nft.MetaProtocol, nft.R0), nft.Equal(nft.R0, ethertype)}
	}
	guard := []nft.Rule{rule(
		protocol(0x86, 0xdd),
		l4proto(nft.R0), nft.Equal(nft.R0, []byte{58}),
		nft.Payload(nft.Transport, 0, 1, nft.R0), nft.Equal(nft.R0, []byte{134}),
		ofContainer, drop(),
	)}
	for _, tag := range [][]byte{{0x81, 0x00}, {0x88, 0xa8}} { // IEEE 802.1Q
		guard = append(guard, rule(protocol(tag...), ofContainer, drop()))
	}
	return []nft.Chain{
		{Name: "forward", Hook: hook("filter", nft.Forward, beforeIP), Rules: guard},
		{Name: "input", Hook: hook("filter", nft.Input, beforeIP), Rules: guard},
	}
}
