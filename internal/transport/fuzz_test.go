package transport

import (
	"bytes"
	"slices"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// FuzzOutbound: whatever the host sends, what leaves are packets, for the peer
// that it leaves to.
func FuzzOutbound(f *testing.F) {
	add := func(p fake.Packet) {
		o := p.Left
		f.Add(p.Bytes, o.Checksum, o.ChecksumStart, o.ChecksumOffset, uint8(o.Segment), o.SegmentSize, uint16(1500))
	}
	add(left(tcp(ours, theirs, 1, 0x10, payload(300)), kernel.SegmentTCP, 100))
	add(left(udp(ours, theirs, payload(300)), kernel.SegmentUDP, 100))
	add(left(udp(ours, theirs, payload(300)), kernel.SegmentNone, 0))
	add(fake.Packet{Bytes: udp(ours, [4]byte{10, 5, 9, 9}, payload(3))})
	f.Add(udp(ours, theirs, payload(300), func(p *packet) { p.frag = 0 }), false, uint16(0), uint16(0), uint8(0), uint16(0), uint16(128))
	f.Fuzz(func(t *testing.T, p []byte, checksum bool, start, offset uint16, segment uint8, size, mtu uint16) {
		if len(p) == 0 || len(p) > kernel.MaxPacket {
			return
		}
		r := newRig(t)
		r.tunnel.MTU = int(mtu)
		sent := r.host(fake.Packet{Bytes: p, Left: kernel.Offload{Checksum: checksum, ChecksumStart: start, ChecksumOffset: offset,
			Segment: kernel.Segment(segment % 3), SegmentSize: size}})
		for _, d := range sent {
			if header(d.Bytes) == 0 || len(d.Bytes)+28 > int(mtu) {
				t.Fatalf("sent % x", d.Bytes)
			}
			if to, ok := r.tr.peers.find(destination(d.Bytes)); !ok || to != d.To {
				t.Fatalf("sent % x to %s", d.Bytes, d.To)
			}
		}
		for _, g := range r.tunnel.Given() {
			valid(t, g.Bytes)
			if g.Bytes[9] != protoICMP || destination(g.Bytes) != source(p) {
				t.Fatalf("given % x", g.Bytes)
			}
		}
	})
}

// lacking is what devices may lack.
var lacking = [][]kernel.Segment{nil, {kernel.SegmentUDP}, {kernel.SegmentTCP, kernel.SegmentUDP}}

// FuzzInbound: whatever arrives, what the host is given are packets for its
// subnets, in all the bytes that came; nothing is sent but errors, to peers.
func FuzzInbound(f *testing.F) {
	for _, packets := range [][][]byte{
		flowing(4, 100), {udp(theirs, ours, payload(9)), udp(theirs, ours, payload(9))},
		{udp(theirs, ours, nil, func(p *packet) { p.ttl = 1 })}, {udp(theirs, theirs, nil)},
		{udp(theirs, ours, payload(9), func(p *packet) { p.options = []byte{1, 1, 1, 1} })},
	} {
		f.Add(bytes.Join(packets, nil), uint16(len(packets[0])), false)
		f.Add(bytes.Join(packets, nil), uint16(len(packets[0])), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint16, sealed bool) {
		if len(data) > kernel.MaxPacket {
			return
		}
		r := newRig(t, lacking[len(data)%len(lacking)]...)
		if sealed && size > ipHeader { // so that what is behind the header counts
			data = bytes.Clone(data)
			for p := range slices.Chunk(data, int(size)) {
				if len(p) > ipHeader {
					p[0] = 0x45
					be.PutUint16(p[2:], uint16(len(p)))
					copy(p[16:], ours[:])
					seal(p, ipHeader)
				}
			}
		}
		r.tunnel.Arrive(second, int(size), data)
		given := r.receive()
		total := uint64(0)
		for _, p := range apart(t, given) {
			if h := header(p); h == 0 || fold(sum(p[:h], 0)) != 0xffff || !r.tr.isLocal(destination(p)) || r.tr.isLocal(source(p)) {
				t.Fatalf("given % x", p)
			}
			total += uint64(len(p))
		}
		if counted := r.tr.tally[ReceivedBytes].Load(); total != counted || total > uint64(len(data)) {
			t.Fatalf("%d bytes came, %d were given, %d counted", len(data), total, counted)
		}
		for _, d := range r.tunnel.Sent() {
			valid(t, d.Bytes)
			if to, ok := r.tr.peers.find(destination(d.Bytes)); d.Bytes[9] != protoICMP || !ok || to != d.To {
				t.Fatalf("sent % x to %s", d.Bytes, d.To)
			}
		}
	})
}

// FuzzThereAndBack: what is cut on one side is put together on the other, byte
// for byte but for the TTL.
func FuzzThereAndBack(f *testing.F) {
	f.Add(uint16(60000), uint16(1420), uint32(1), uint8(0x18), uint16(5), true)
	f.Add(uint16(5001), uint16(1201), uint32(0xffffff00), uint8(0x10), uint16(0xfffe), false)
	f.Fuzz(func(t *testing.T, n, size uint16, seq uint32, flags uint8, id uint16, isTCP bool) {
		edit := func(p *packet) { p.id, p.src, p.dst, p.frag = id, theirs, ours, 0 }
		whole, kind := udp(theirs, ours, payload(int(n%60000)+1), edit), kernel.SegmentUDP
		if isTCP {
			flags = 0x10 | flags&(tcpPSH|tcpFIN|0x40)
			whole, kind = tcp(theirs, ours, seq, flags, payload(int(n%60000)+1), edit), kernel.SegmentTCP
		}
		size = size%1400 + 1
		all, _ := headers(whole, ipHeader, isTCP)
		if count := (len(whole) - all + int(size) - 1) / int(size); count < 2 || count > kernel.MaxTrain {
			return
		}
		far, near := newRig(t), newRig(t)
		if err := far.tr.peers.Set(Peer{(*near.tr.local.Load())[0], second}); err != nil {
			t.Fatal(err)
		}
		offered := left(whole, kind, int(size))
		for _, d := range far.host(offered) {
			near.tunnel.Arrive(second, len(d.Bytes), d.Bytes)
		}
		var given []fake.Packet
		for i := 0; i < kernel.MaxTrain; i += trainsAtOnce { // in several calls, which each group for themselves
			given = append(given, near.receive()...)
		}
		for i, p := range apart(t, given) {
			valid(t, p)
			at := i * int(size)
			if want := older(older(whole))[all:][at:min(at+int(size), len(whole)-all)]; !bytes.Equal(p[all:], want) || p[8] != whole[8]-2 {
				t.Fatalf("segment %d is another", i)
			}
		}
		if len(given) > kernel.MaxTrain/trainsAtOnce {
			t.Fatalf("%d packets given", len(given))
		}
	})
}
