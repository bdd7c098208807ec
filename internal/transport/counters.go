package transport

import (
	"sync/atomic"

	"github.com/catenet/catenet"
)

// Counter names what is counted.
type Counter int

// What is counted, in packets where nothing else is said: those that went, and
// from NotIPv4 on those that did not, by reason.
const (
	Sent          Counter = iota // to peers
	SentBytes                    // of packets
	Received                     // from peers, and given to the host
	ReceivedBytes                // of packets
	Fragmented                   // cut in fragments, since the path takes no bigger ones
	Answered                     // ICMP errors that were sent to who had sent a packet
	NotIPv4                      // from the host, of another family
	NoRoute                      // from the host, for no peer's subnet
	Expired                      // TTL, in either direction
	TooBig                       // for the path, and not to be fragmented
	Unreachable                  // the peer's host
	Failed                       // the kernel did not take it
	Malformed                    // wrong version, checksum, or lengths that lie
	Stranger                     // from no peer's host, and of no peer's subnet
	Martian                      // from a source that cannot be out there
	NotOurs                      // from a peer, for no subnet of this host
	counters
)

// names are what counters are called, for people and in metrics.
var names = [counters]string{
	Sent: "packets sent", SentBytes: "bytes sent", Received: "packets received", ReceivedBytes: "bytes received",
	Fragmented: "packets fragmented", Answered: "ICMP errors sent",
	NotIPv4: "not IPv4", NoRoute: "no host has the destination", Expired: "TTL expired", TooBig: "too big for the path",
	Unreachable: "the other host is unreachable", Failed: "the kernel refused it", Malformed: "malformed",
	Stranger: "from no host of the network", Martian: "its source cannot be another host's", NotOurs: "for no subnet of this host",
}

func (c Counter) String() string { return names[c] }

// What the kernel has counted.
const (
	refusals = "offloads refused"           // and packets went one by one
	overflow = "came faster than they went" // so the socket was full
)

// tally counts. It is read while it counts.
type tally [counters]atomic.Uint64

func (t *tally) add(c Counter, n int) { t[c].Add(uint64(n)) }

// Traffic returns what has been counted so far, all of it, at any time.
func (t *Transport) Traffic() catenet.Traffic {
	all := catenet.Traffic{Datapath: Datapath, Carried: make(map[string]uint64), Dropped: make(map[string]uint64)}
	for i := range t.tally {
		c, by := Counter(i), all.Carried
		if c >= NotIPv4 {
			by = all.Dropped
		}
		by[c.String()] = t.tally[c].Load()
	}
	all.Carried[refusals] = t.tunnel.Refused() + t.refused.Load()
	all.Dropped[overflow] = t.tunnel.Overflown()
	return all
}
