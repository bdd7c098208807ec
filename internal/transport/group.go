package transport

import (
	"bytes"
	"encoding/binary"

	"github.com/catenet/catenet/internal/kernel"
)

// groups are packets that are to be given to the host, in order. Segments of a
// flow that follow one another make one group, by the rules of the kernel's own
// GRO (net/ipv4/tcp_offload.c, udp_offload.c of Linux): only such as can be cut
// again into the same packets. A checksum is left to whoever cuts, so it is
// looked at before: what is damaged goes alone, for the host to find.
type groups struct {
	all     []group
	members []member // of all
	parts   [][]byte
	head    [maxHead]byte
	usable  [3]bool // by kernel.Segment: the device takes such groups
}

// member is one packet of a group, and where the next one is.
type member struct {
	packet []byte
	next   int // in groups.members; 0 for none, which the first one is never
}

// group is one packet, or several to be given to the host as one.
type group struct {
	flow        flow
	kind        kernel.Segment // SegmentNone: nothing goes with it
	ip, all     int            // bytes of the IP header, and of all headers
	size        int            // of the first payload, which no other exceeds
	first, last int            // in groups.members
	count       int
	length      int  // of the packet that they make
	checked     bool // the first one's checksum is right
	ended       bool // takes no more
}

// flow tells flows apart: by addresses, ports, protocol.
type flow struct {
	addresses uint64
	ports     uint32
	protocol  byte
}

// How many groups there can be at a time, and packets in them; how many one
// group takes (a group of UDP can have no more segments than UDP_MAX_SEGMENTS),
// and how many of the last groups are looked at for it.
const (
	maxGroups  = 128
	maxPackets = 1024
	maxGroup   = kernel.MaxTrain
	growing    = 8
)

func newGroups(tunnel kernel.Tunnel) groups {
	gs := groups{all: make([]group, 0, maxGroups), members: make([]member, 0, maxPackets), parts: make([][]byte, 0, maxGroup+1)}
	for _, s := range []kernel.Segment{kernel.SegmentTCP, kernel.SegmentUDP} {
		gs.usable[s] = tunnel.Segments(s)
	}
	return gs
}

func (gs *groups) reset() { gs.all, gs.members = gs.all[:0], gs.members[:0] }

// add appends a packet, whose IP header has h bytes; false if there is no room.
func (gs *groups) add(p []byte, h int) bool {
	if len(gs.all) == maxGroups || len(gs.members) == maxPackets {
		return false
	}
	at := len(gs.members)
	gs.members = append(gs.members, member{packet: p})
	n := group{ip: h, first: at, last: at, count: 1, length: len(p), ended: true}
	if n.read(p); !gs.usable[n.kind] {
		n.kind, n.ended = kernel.SegmentNone, true
	}
	if n.kind == kernel.SegmentNone && n.flow == (flow{}) {
		gs.all = append(gs.all, n)
		return true
	}
	if g := gs.find(n.flow); g != nil {
		if !g.ended && n.size > 0 && gs.follows(g, &n) {
			gs.members[g.last].next = at
			g.last = at
			g.count++
			g.length += n.size
			g.ended = n.ended || n.size < g.size || g.count == maxGroup
			return true
		}
		g.ended = true // or the flow would come out of order
	}
	gs.all = append(gs.all, n)
	return true
}

// read finds out what a packet's group is, if it begins one: kind says whether
// others may follow, and ended that it asks for an end.
func (g *group) read(p []byte) {
	if g.ip != ipHeader || isFragment(p) || len(p) < ipHeader+udpHeader || p[9] != protoTCP && p[9] != protoUDP {
		return
	}
	g.flow = flow{binary.NativeEndian.Uint64(p[12:]), binary.NativeEndian.Uint32(p[20:]), p[9]}
	if p[9] == protoUDP {
		g.all = ipHeader + udpHeader
		g.size = len(p) - g.all
		if int(be.Uint16(p[24:])) == udpHeader+g.size && be.Uint16(p[26:]) != 0 && g.size > 0 {
			g.kind, g.ended = kernel.SegmentUDP, false
		}
		return
	}
	if len(p) < ipHeader+tcpHeader {
		return
	}
	g.all = ipHeader + int(p[32]>>4)*4
	g.size = len(p) - g.all
	if flags := p[33]; g.all >= ipHeader+tcpHeader && g.size > 0 && flags&(tcpSYN|tcpRST|tcpURG|tcpCWR) == 0 {
		g.kind, g.ended = kernel.SegmentTCP, flags&(tcpFIN|tcpPSH) != 0
	}
}

// find returns the newest group of a flow, among the last ones.
func (gs *groups) find(f flow) *group {
	for i := len(gs.all) - 1; i >= max(0, len(gs.all)-growing); i-- {
		if gs.all[i].flow == f {
			return &gs.all[i]
		}
	}
	return nil
}

// follows tells whether the packet n is the next one of g.
func (gs *groups) follows(g, n *group) bool {
	if g.kind != n.kind || g.all != n.all || n.size > g.size || g.length+n.size > kernel.MaxPacket {
		return false
	}
	a, b := gs.members[g.first].packet, gs.members[n.first].packet
	// Of the IP header, type of service, flags and TTL are the same; the ID
	// counts up, or means nothing (RFC 6864, 4.1).
	if a[1] != b[1] || a[6] != b[6] || a[8] != b[8] ||
		be.Uint16(a[6:])&flagDF == 0 && be.Uint16(a[4:])+uint16(g.count) != be.Uint16(b[4:]) {
		return false
	}
	if g.kind == kernel.SegmentTCP && !followsTCP(a, b, g) {
		return false
	}
	if !g.checked {
		if !sound(a, ipHeader) {
			g.ended = true
			return false
		}
		g.checked = true
	}
	return sound(b, ipHeader)
}

// followsTCP tells whether the TCP header of b is that of the segment after g,
// whose first one is a.
func followsTCP(a, b []byte, g *group) bool {
	const end = tcpFIN | tcpPSH
	return be.Uint32(a[24:])+uint32(g.length-g.all) == be.Uint32(b[24:]) && // sequence number
		bytes.Equal(a[28:33], b[28:33]) && a[33]&^end == b[33]&^end && // acknowledgement, flags
		bytes.Equal(a[34:36], b[34:36]) && bytes.Equal(a[38:g.all], b[38:g.all]) // window; urgent pointer, options
}

// whole returns a group as the host is to get it. It is valid until the next
// call.
func (gs *groups) whole(g *group) ([][]byte, kernel.Offload) {
	first := gs.members[g.first].packet
	if g.count == 1 {
		gs.parts = append(gs.parts[:0], first)
		return gs.parts, kernel.Offload{}
	}
	head := gs.head[:g.all]
	copy(head, first)
	be.PutUint16(head[2:], uint16(g.length))
	seal(head, g.ip)
	left := kernel.Offload{
		Checksum: true, ChecksumStart: uint16(g.ip), ChecksumOffset: 6,
		Segment: g.kind, SegmentSize: uint16(g.size), HeaderLen: uint16(g.all),
	}
	if g.kind == kernel.SegmentTCP {
		left.ChecksumOffset = 16
		head[33] |= gs.members[g.last].packet[33] & (tcpFIN | tcpPSH)
	} else {
		be.PutUint16(head[24:], uint16(g.length-g.ip))
	}
	at := head[g.ip+int(left.ChecksumOffset):]
	binary.LittleEndian.PutUint16(at, fold(pseudo(head, g.length-g.ip)))
	gs.parts = append(gs.parts[:0], head)
	for i := g.first; ; i = gs.members[i].next {
		gs.parts = append(gs.parts, gs.members[i].packet[g.all:])
		if i == g.last {
			return gs.parts, left
		}
	}
}

// packets returns the packets of a group as they came.
func (gs *groups) packets(g *group) (all [][]byte) {
	for i := g.first; ; i = gs.members[i].next {
		all = append(all, gs.members[i].packet)
		if i == g.last {
			return all
		}
	}
}
