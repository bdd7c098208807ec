package catenet

import "net/netip"

// Part is what one host has of a network that reaches over several.
type Part struct {
	Subnets []netip.Prefix `json:"subnets"` // of the containers here
	// Span is all of the network, Subnets among it: who is of it reaches the
	// others of it as they are.
	Span []netip.Prefix `json:"span"`
	By   string         `json:"by,omitempty"`   // how the other hosts are reached, as the driver calls it
	MTU  int            `json:"mtu,omitempty"`  // of links to the other hosts, in bytes; 0: no other than the host's
	Data string         `json:"data,omitempty"` // the driver's own: how the part is known again
	// Theirs: the containers of Subnets are another program's, which may have their
	// gateway's address on a bridge of its own.
	Theirs bool `json:"theirs,omitempty"`
}

// Peer is another host's part of such a network.
type Peer struct {
	Subnets []netip.Prefix `json:"subnets"`
	Host    netip.Addr     `json:"host"`              // where the host is reached
	By      string         `json:"by"`                // how: "route", or the kind of tunnel
	Trouble string         `json:"trouble,omitempty"` // why it is not reached
}

// Traffic is what has been counted of packets between hosts that the daemon itself
// carries, since it began to.
type Traffic struct {
	Datapath string `json:"datapath"` // what carries them, such as "userspace"
	// Carried are packets that went on, their bytes, and what was done to them;
	// Dropped are packets that did not, by reason. Keys are for people.
	Carried map[string]uint64 `json:"carried"`
	Dropped map[string]uint64 `json:"dropped"`
}
