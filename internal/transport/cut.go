package transport

import (
	"net/netip"

	"github.com/catenet/catenet/internal/kernel"
)

// Bits of TCP's flags (RFC 9293, 3.1).
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	_ // ACK
	tcpURG
	_ // ECE
	tcpCWR
)

// cut makes the segments of a packet, whose IP header has h bytes, and adds
// them to what is to be sent. It reports whether the packet is as it should be.
func (o *outbound) cut(p []byte, h int, left kernel.Offload, to netip.AddrPort) bool {
	tcp := left.Segment == kernel.SegmentTCP
	all, ok := headers(p, h, tcp)
	size := int(left.SegmentSize)
	if !ok || size == 0 {
		return false
	}
	id := be.Uint16(p[4:])
	for rest, at := p[all:], 0; len(rest) > 0; at += size {
		n := min(size, len(rest))
		if !o.trains.room() {
			o.flush()
		}
		head := o.trains.head(all)
		copy(head, p)
		be.PutUint16(head[2:], uint16(all+n))
		be.PutUint16(head[4:], id)
		seal(head, h)
		if tcp {
			segmentTCP(head[h:], at, n == len(rest))
		} else {
			be.PutUint16(head[h+4:], uint16(udpHeader+n))
		}
		finish(head, h, rest[:n])
		o.trains.add(to, head, rest[:n])
		rest = rest[n:]
		id++
	}
	return true
}

// headers returns the length of all headers of a packet that is to be cut.
func headers(p []byte, h int, tcp bool) (int, bool) {
	if !tcp {
		return h + udpHeader, p[9] == protoUDP && len(p) > h+udpHeader
	}
	if p[9] != protoTCP || len(p) < h+tcpHeader {
		return 0, false
	}
	all := h + int(p[h+12]>>4)*4
	return all, all >= h+tcpHeader && len(p) > all
}

// segmentTCP makes a TCP header that of the segment that begins at bytes into
// the payload: what is asked for at the end is asked for by the last one, and
// that the window was reduced is said by the first.
func segmentTCP(head []byte, at int, last bool) {
	be.PutUint32(head[4:], be.Uint32(head[4:])+uint32(at))
	if !last {
		head[13] &^= tcpFIN | tcpPSH
	}
	if at > 0 {
		head[13] &^= tcpCWR
	}
}

// finish stores the checksum of TCP or UDP in the headers of a packet.
func finish(head []byte, h int, payload []byte) {
	at := h + 16
	if head[9] == protoUDP {
		at = h + 6
	}
	head[at], head[at+1] = 0, 0
	acc := pseudo(head, len(head)-h+len(payload))
	putSum(head[at:], sum(payload, sum(head[h:], acc)))
	if head[9] == protoUDP && head[at] == 0 && head[at+1] == 0 {
		head[at], head[at+1] = 0xff, 0xff // a zero would mean that there is none
	}
}
