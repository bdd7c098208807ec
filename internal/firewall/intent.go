// Package firewall turns what networks and published ports want of the host's
// packet filter into one ruleset. It does no I/O of its own: a backend of the
// kernel room commits what it renders.
//
// Rooms above state intents, keyed by network and port, never by driver name.
package firewall

import (
	"net/netip"

	"github.com/catenet/catenet"
)

// Network is what one network wants.
type Network struct {
	ID      string
	Link    string         // its bridge on the host; "": containers of a Span are somebody else's
	Subnets []netip.Prefix // of its containers
	// Internal: nothing goes out of the network or comes in.
	Internal bool
	// NoICC: containers of the network reach each other only through
	// published ports and links. (Frames between ports of the bridge are stopped by
	// port isolation; this is for what the host would route.)
	NoICC bool
	// V4 and V6 are how each family meets what is outside.
	V4, V6 Gateway
	// Trusted are links of the host: who comes by them reaches published
	// ports at the containers' own addresses, whatever the mode.
	Trusted []string
	// Span is all of a network that reaches over several hosts, Subnets among
	// it. Who is of it, or one of Hosts, and comes by one of the links By is as a
	// container of the network here, save where containers are kept from each
	// other (NoICC). Who is of it is never hidden from the rest of it; others
	// that reach the other hosts' containers by way of this host are.
	Span  []netip.Prefix
	By    []string
	Hosts []netip.Addr // the other hosts' own
}

// Gateway is one family of a network.
type Gateway struct {
	Mode catenet.GatewayMode // "" is GatewayNAT
	// Masquerade hides the containers behind the host's address when they
	// reach outside: behind Source, or if that is zero the one that the host
	// would use itself.
	Masquerade bool
	Source     netip.Addr
}

// Port is one published port: what arrives for HostIP:HostPort goes to To,
// and who may reach containers at their own addresses reaches To.
type Port struct {
	Proto    catenet.Proto
	HostIP   netip.Addr // 0.0.0.0 or ::: every address of the host in that family, loopback excepted
	HostPort uint16     // 0: no port of the host leads to To (GatewayRouted)
	To       netip.AddrPort
	Network  string // ID of the network whose bridge To is on
}

// Link lets From reach one port of To, both in one network without icc, with
// their own addresses. Answers come back; nothing else does.
type Link struct {
	Proto catenet.Proto
	From  netip.Addr
	To    netip.AddrPort
}

// Change is one transaction.
type Change struct {
	AddNetworks    []Network
	RemoveNetworks []string // IDs
	AddPorts       []Port
	RemovePorts    []Port
	AddLinks       []Link
	RemoveLinks    []Link
}
