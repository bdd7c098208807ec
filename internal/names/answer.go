package names

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// localTTL is the TTL of everything that we know ourselves, in seconds; see
// the package's comment.
const localTTL = 0

// begin cuts the message m down to its header and question and makes it a
// reply. The question stays as the client wrote it, upper case and all.
func (q *query) begin(m []byte, aa byte, rcode byte) []byte {
	m = m[:q.end]
	m[2] = flagQR | q.flags[0]&flagRD | aa
	m[3] = flagRA | q.flags[1]&flagCD | rcode
	clear(m[6:headerLen])
	return m
}

// finish adds the OPT record, where the client sent one.
func (q *query) finish(m []byte) []byte {
	if !q.edns {
		return m
	}
	m[11]++ // additional records; never above 255 in what begin made
	return q.appendOPT(m)
}

func (q *query) appendOPT(m []byte) []byte {
	var do byte
	if q.do {
		do = 0x80
	}
	return append(m, 0, 0, typeOPT, ednsUDP>>8, ednsUDP&0xff, 0, 0, do, 0, 0, 0)
}

// room returns how many bytes the answer may have before finish.
func (q *query) room(limit int) int {
	if q.edns {
		return limit - optLen
	}
	return limit
}

// status makes m a reply without records.
func (q *query) status(m []byte, rcode byte) []byte {
	return q.finish(q.begin(m, 0, rcode))
}

// truncated makes m a reply that says: ask again by TCP.
func (q *query) truncated(m []byte) []byte {
	return q.finish(q.begin(m, flagTC, rcodeOK))
}

// addresses makes m the answer with the addresses of hosts, beginning with
// any of them, so that clients that take the first share the load. What does
// not fit into limit is left out and said so (TC).
func (q *query) addresses(m []byte, hosts []*host, limit int) []byte {
	m = q.begin(m, flagAA, rcodeOK)
	room, count := q.room(limit), 0
	var start int
	if len(hosts) > 1 {
		start = rand.IntN(len(hosts))
	}
	for i := range hosts {
		h := hosts[(start+i)%len(hosts)]
		if h.v4.IsValid() && (q.qtype == typeA || q.qtype == typeANY) {
			if len(m)+12+4 > room {
				m[2] |= flagTC
				break
			}
			a := h.v4.As4()
			m = append(appendRR(m, typeA, 4), a[:]...)
			count++
		}
		if h.v6.IsValid() && (q.qtype == typeAAAA || q.qtype == typeANY) {
			if len(m)+12+16 > room {
				m[2] |= flagTC
				break
			}
			a := h.v6.As16()
			m = append(appendRR(m, typeAAAA, 16), a[:]...)
			count++
		}
	}
	binary.BigEndian.PutUint16(m[6:], uint16(count))
	return q.finish(m)
}

// pointer makes m the answer of a PTR query: the labels of host and then
// those of network.
func (q *query) pointer(m []byte, host, network string) []byte {
	if len(host)+len(network) >= maxWireName {
		network = ""
	}
	m = appendRR(q.begin(m, flagAA, rcodeOK), typePTR, len(host)+len(network)+1)
	m = append(append(append(m, host...), network...), 0)
	m[7] = 1
	return q.finish(m)
}

// appendRR adds the head of a record that belongs to the question's name (a
// compression pointer to byte 12).
func appendRR(m []byte, rtype uint16, length int) []byte {
	return append(m, 0xc0, headerLen, byte(rtype>>8), byte(rtype), 0, classIN,
		0, 0, 0, localTTL, byte(length>>8), byte(length))
}

// has reports whether any of hosts has an address of the type asked for.
func has(hosts []*host, qtype uint16) bool {
	var family func(*host) netip.Addr
	switch qtype {
	case typeA:
		family = func(h *host) netip.Addr { return h.v4 }
	case typeAAAA:
		family = func(h *host) netip.Addr { return h.v6 }
	default:
		return true
	}
	for _, h := range hosts {
		if family(h).IsValid() {
			return true
		}
	}
	return false
}
