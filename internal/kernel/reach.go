package kernel

import (
	"context"
	"net"
	"net/netip"
)

// Crossing is the side of Host that other hosts' parts of a network are reached
// by. What it writes carries RouteProtocol.
type Crossing interface {
	// Reach makes the host reach add, and remove no longer; what both have in
	// common stays without a gap. It all goes to the kernel in batches, and one
	// that is refused keeps no other. A subnet that is reached otherwise is led
	// the new way. Somebody else's route to one is a conflict, unless it leads the
	// same way, or by the same tunnel: then it is ours from now on, without a gap.
	Reach(ctx context.Context, add, remove []Reach) error
	// Reached returns what Reach made and is still there: all routes, with what
	// is behind them where they leave by one of the given links. What is left
	// there of neighbours without a route comes with a zero Subnet.
	Reached(ctx context.Context, links ...string) ([]Reach, error)
	// Underlay returns a link that other hosts are behind: the one of that name or
	// with that address; for "" that of the default route. There is none: not
	// found.
	Underlay(ctx context.Context, which string) (Underlay, error)
	// Direct returns those of hosts that are reached without a gateway, and by which
	// link.
	Direct(ctx context.Context, hosts ...netip.Addr) (map[netip.Addr]string, error)
	// Runs returns the ID of a process of that program (of its name the first 15
	// bytes count, as in proc(5)) in the host's network namespace; 0 for none.
	Runs(ctx context.Context, program string) (pid int, err error)
}

// Underlay is a link of the host that carries what is sent to other hosts.
type Underlay struct {
	Link string
	MTU  int // bytes
	// IPv4 and IPv6 are its addresses of global scope, in the kernel's order; none
	// that is temporary or deprecated.
	IPv4, IPv6 []netip.Addr
}

// Reach is how another host's part of a network is reached: a route, and for
// tunnels that carry Ethernet frames what makes them find the host.
type Reach struct {
	Link   string       // by which it goes
	Subnet netip.Prefix // masked
	// Via is the next hop; zero: Subnet is on the link. OnLink says that Via is,
	// whatever addresses the link has.
	Via    netip.Addr
	OnLink bool
	// MAC is whom Via is, and Remote the host that frames for it are sent to:
	// a permanent neighbour and an entry of the forwarding database of Link
	// (bridge(8)). Both or none.
	MAC    net.HardwareAddr
	Remote netip.Addr
}

// VXLAN is what a link of kind "vxlan" is (RFC 7348).
type VXLAN struct {
	VNI  uint32 // the network's number, 24 bits
	Port uint16 // UDP; 0 is 8472, the kernel's choice
	// Local is the host's address that it sends from, and Under the link by
	// which it does; zero leaves the choice to the host's routes.
	Local netip.Addr
	Under string
	// Learning fills the forwarding database from what arrives.
	Learning bool
	GBP      bool // the Group Policy extension
}
