package transport

import "sync/atomic"

// Counter names what is counted.
type Counter int

// What is counted, in packets where nothing else is said: those that went, and
// those that did not, by reason.
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
	Stranger                     // from a host that is no peer
	Martian                      // from a source that cannot be out there
	NotOurs                      // from a peer, for no subnet of this host
	counters
)

// names are what counters are called in metrics.
var names = [counters]string{
	Sent: "sent", SentBytes: "sent_bytes", Received: "received", ReceivedBytes: "received_bytes",
	Fragmented: "fragmented", Answered: "icmp_errors", NotIPv4: "not_ipv4", NoRoute: "no_route", Expired: "ttl_expired",
	TooBig: "too_big", Unreachable: "unreachable", Failed: "failed", Malformed: "malformed", Stranger: "stranger",
	Martian: "martian", NotOurs: "not_ours",
}

func (c Counter) String() string { return names[c] }

// tally counts. It is read while it counts.
type tally [counters]atomic.Uint64

func (t *tally) add(c Counter, n int) { t[c].Add(uint64(n)) }

// Counts returns all counters by name.
func (t *Transport) Counts() map[string]uint64 {
	all := make(map[string]uint64, counters+1)
	for c := range t.tally {
		all[Counter(c).String()] = t.tally[c].Load()
	}
	all["offload_refused"] = t.tunnel.Refused() + t.refused.Load()
	return all
}
