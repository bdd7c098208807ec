// Package transport carries IPv4 packets between hosts in user space: from a
// device that the host routes into, to the UDP socket of the peer whose subnet
// they are for, and back. A datagram is one bare packet, without any header:
// flannel's udp backend.
//
//	containers, host                                      containers, host
//	      │ TCP, up to 64 KiB in one packet                     ▲ likewise
//	      ▼                                                     │
//	  TUN device ── Read ──► outbound                 inbound ── Write ──► TUN device
//	                            │ check, find peer       ▲ group: segments of one
//	                            │ TTL − 1                │ flow become one packet
//	                            │ cut into segments      │ TTL − 1
//	                            ▼                        │ check, is it for us?
//	                    Send: a train of                Receive: trains, as they
//	                    equal datagrams                 were sent or GRO put them
//	                            └───── UDP, one packet a datagram ─────┘
//
// Each lane of the tunnel has one goroutine, which does all of this by itself,
// in both directions: no channel, no lock, and no allocation for a packet. (Two
// would have the kernel wake one more thread for each request and answer.) What
// lanes share is read only: the table of peers and what is local are values that
// are replaced as a whole. Payload is never copied here: a segment that leaves is
// a header of its own and a part of the packet read.
//
// A host is a router here, twice, and says so: TTL goes down on both sides, and
// who sent what cannot go on is told by ICMP (RFC 1812). What arrives and is not
// for a subnet of this host is dropped and never sent out again; so is what lies
// about itself.
//
// A datagram is a peer's if it comes from his host's address, or if the packet in
// it comes from his subnet: hosts behind a translation of addresses, or with several
// addresses, send from others than they are reached at. So of hosts that are no
// peers nobody sends as a container of this host, as the host itself or as somebody
// outside of the network, and nobody has an answer: that goes to the peer whose
// subnet was named. Who writes a peer's address on his own datagrams can do more,
// and nothing in the format keeps him from it; so containers are as safe from the
// underlay as it is from forged sources, and no safer. Where that is not enough the
// host's firewall has the port's last word.
//
// The room knows neither the kernel nor where peers come from: both ends are
// behind one contract (kernel.Tunnel), and the Table is handed in, since other
// datapaths may read it as well.
package transport
