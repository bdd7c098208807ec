package transport

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// Addresses of the rig: this host has the first subnet, peers the others.
var (
	ours   = [4]byte{10, 5, 1, 7}
	theirs = [4]byte{10, 5, 2, 9}
	second = netip.MustParseAddrPort("192.0.2.2:8285")
	third  = netip.MustParseAddrPort("192.0.2.3:8285")
)

// rig is a transport on a twin, moved by hand.
type rig struct {
	t      testing.TB
	tunnel *fake.Tunnel
	tr     *Transport
	out    *outbound
	in     *inbound
}

// newRig lays one whose device lacks some ways to cut packets.
func newRig(t testing.TB, lacks ...kernel.Segment) *rig {
	t.Helper()
	r := &rig{t: t, tunnel: fake.NewTunnel(1)}
	r.tunnel.Lacks = lacks
	table := new(Table)
	err := table.Set(Peer{netip.MustParsePrefix("10.5.2.0/24"), second}, Peer{netip.MustParsePrefix("10.5.2.128/25"), third})
	if err != nil {
		t.Fatal(err)
	}
	r.tr, err = New(r.tunnel, table, netip.MustParseAddr("10.5.1.0"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.tr.SetLocal(netip.MustParsePrefix("10.5.1.0/24"))
	lane := r.tunnel.Lanes()[0]
	r.out, r.in = newOutbound(r.tr, lane), newInbound(r.tr, lane)
	return r
}

// host sends packets from the host, and returns what went to peers.
func (r *rig) host(packets ...fake.Packet) []fake.Datagram {
	r.t.Helper()
	for _, p := range packets {
		r.tunnel.Offer(fake.Packet{Bytes: append([]byte(nil), p.Bytes...), Left: p.Left})
	}
	if err := r.out.some(); err != nil {
		r.t.Fatal(err)
	}
	return r.tunnel.Sent()
}

// peer has packets arrive from the second host, each in a datagram, all at
// once, and returns what the host was given.
func (r *rig) peer(packets ...[]byte) []fake.Packet {
	r.t.Helper()
	for _, p := range packets {
		r.tunnel.Arrive(second, len(p), p)
	}
	return r.receive()
}

func (r *rig) receive() []fake.Packet {
	r.t.Helper()
	if err := r.in.some(); err != nil {
		r.t.Fatal(err)
	}
	return r.tunnel.Given()
}

// counted checks a counter.
func (r *rig) counted(c Counter, want uint64) {
	r.t.Helper()
	if got := r.tr.tally[c].Load(); got != want {
		r.t.Errorf("%s: counted %d, not %d", c, got, want)
	}
}

// packet is a packet to be made.
type packet struct {
	src, dst [4]byte
	proto    byte
	tos, ttl byte
	id, frag uint16
	options  []byte // of IP
	body     []byte // with the headers of TCP or UDP
}

// bytes makes it, with its header's checksum.
func (p packet) bytes() []byte {
	h := ipHeader + len(p.options)
	b := make([]byte, h, h+len(p.body))
	b[0] = 0x40 | byte(h/4)
	b[1], b[8], b[9] = p.tos, p.ttl, p.proto
	copy(b[12:], p.src[:])
	copy(b[16:], p.dst[:])
	copy(b[20:], p.options)
	be.PutUint16(b[4:], p.id)
	be.PutUint16(b[6:], p.frag)
	b = append(b, p.body...)
	be.PutUint16(b[2:], uint16(len(b)))
	seal(b, h)
	return b
}

// payload is n bytes, all different from those beside them.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// tcp makes a packet of TCP with right checksums, changed by edits before them.
func tcp(src, dst [4]byte, seq uint32, flags byte, data []byte, edits ...func(p *packet)) []byte {
	body := make([]byte, tcpHeader+12)
	be.PutUint16(body, 40000)
	be.PutUint16(body[2:], 80)
	be.PutUint32(body[4:], seq)
	be.PutUint32(body[8:], 77)
	body[12], body[13] = 8<<4, flags
	be.PutUint16(body[14:], 512)
	copy(body[20:], []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8})
	p := packet{src: src, dst: dst, proto: protoTCP, ttl: 64, id: 100, frag: flagDF, body: append(body, data...)}
	return finished(p, edits)
}

// udp is tcp for UDP.
func udp(src, dst [4]byte, data []byte, edits ...func(p *packet)) []byte {
	body := make([]byte, udpHeader)
	be.PutUint16(body, 40000)
	be.PutUint16(body[2:], 53)
	be.PutUint16(body[4:], uint16(udpHeader+len(data)))
	p := packet{src: src, dst: dst, proto: protoUDP, ttl: 64, id: 100, frag: flagDF, body: append(body, data...)}
	return finished(p, edits)
}

func finished(p packet, edits []func(*packet)) []byte {
	for _, edit := range edits {
		edit(&p)
	}
	b := p.bytes()
	finish(b, ipHeader+len(p.options), nil)
	return b
}

// left is what the kernel leaves to be done to b, which has right checksums.
func left(b []byte, segment kernel.Segment, size int) fake.Packet {
	h := int(b[0]&15) * 4
	b = append([]byte(nil), b...)
	o := kernel.Offload{Checksum: true, ChecksumStart: uint16(h), ChecksumOffset: 16, Segment: segment, SegmentSize: uint16(size)}
	if b[9] == protoUDP {
		o.ChecksumOffset = 6
	}
	sum := fold(pseudo(b, len(b)-h))
	at := b[h+int(o.ChecksumOffset):]
	at[0], at[1] = byte(sum), byte(sum>>8)
	return fake.Packet{Bytes: b, Left: o}
}

// valid fails the test if a packet's header, lengths or checksums are wrong.
func valid(t testing.TB, p []byte) {
	t.Helper()
	h := header(p)
	if h == 0 || fold(sum(p[:h], 0)) != 0xffff {
		t.Fatalf("no packet: % x", p[:min(len(p), 60)])
	}
	if isFragment(p) {
		return
	}
	switch p[9] {
	case protoTCP, protoUDP:
		if !sound(p, h) {
			t.Fatalf("wrong checksum of protocol %d: % x", p[9], p[:min(len(p), 60)])
		}
	case protoICMP:
		if fold(sum(p[h:], 0)) != 0xffff {
			t.Fatalf("wrong checksum of ICMP: % x", p)
		}
	}
}
