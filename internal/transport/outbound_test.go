package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// older is a packet as it is one router later.
func older(p []byte) []byte {
	p = append([]byte(nil), p...)
	p[8]--
	seal(p, int(p[0]&15)*4)
	return p
}

func TestAPacketGoesToItsPeer(t *testing.T) {
	for _, c := range []struct {
		name string
		p    []byte
		to   netip.AddrPort
	}{
		{"UDP", udp(ours, theirs, payload(33)), second},
		{"TCP", tcp(ours, theirs, 5, 0x10, payload(100)), second},
		{"the longer prefix", udp(ours, [4]byte{10, 5, 2, 130}, payload(1)), third},
		{"options", udp(ours, theirs, nil, func(p *packet) { p.options = []byte{7, 4, 4, 0} }), second},
		{"another protocol", packet{src: ours, dst: theirs, proto: 47, ttl: 9, body: payload(7)}.bytes(), second},
		{"a fragment", packet{src: ours, dst: theirs, proto: protoUDP, ttl: 9, frag: 3, body: payload(7)}.bytes(), second},
		{"a checksum that carries", packet{src: ours, dst: theirs, proto: 47, ttl: 255, id: 0xfeff, body: nil}.bytes(), second},
	} {
		r := newRig(t)
		sent := r.host(fake.Packet{Bytes: c.p})
		if len(sent) != 1 || sent[0].To != c.to || !bytes.Equal(sent[0].Bytes, older(c.p)) {
			t.Errorf("%s: sent %v", c.name, sent)
		}
		r.counted(Sent, 1)
		r.counted(SentBytes, uint64(len(c.p)))
	}
}

func TestTheChecksumThatIsLeft(t *testing.T) {
	// A datagram whose sum is zero says so by all ones (RFC 768).
	zero := udp(ours, theirs, []byte{0, 0})
	want := be.Uint16(zero[26:])
	be.PutUint16(zero[28:], want)
	for _, p := range [][]byte{udp(ours, theirs, payload(33)), tcp(ours, theirs, 5, 0x10, payload(100)), finishedAgain(zero)} {
		sent := newRig(t).host(left(p, kernel.SegmentNone, 0))
		if len(sent) != 1 || !bytes.Equal(sent[0].Bytes, older(p)) {
			t.Errorf("% x\nbecame %v", p, sent)
		}
	}
	if got := finishedAgain(zero)[26:28]; !bytes.Equal(got, []byte{0xff, 0xff}) {
		t.Errorf("the sum is no zero: % x", got)
	}
	lies := left(udp(ours, theirs, payload(3)), kernel.SegmentNone, 0)
	lies.Left.ChecksumStart = 30
	r := newRig(t)
	if sent := r.host(lies); len(sent) != 0 {
		t.Errorf("a checksum behind the end: %v", sent)
	}
	r.counted(Malformed, 1)
}

func finishedAgain(p []byte) []byte {
	finish(p, ipHeader, nil)
	return p
}

func TestCutIntoSegments(t *testing.T) {
	for _, c := range []struct {
		name  string
		whole []byte
		kind  kernel.Segment
		size  int
	}{
		{"TCP", tcp(ours, theirs, 1000, 0x10, payload(60000)), kernel.SegmentTCP, 1420},
		{"odd", tcp(ours, theirs, 1000, 0x10, payload(4001)), kernel.SegmentTCP, 1333},
		{"just one more byte", tcp(ours, theirs, 1000, 0x18, payload(1421)), kernel.SegmentTCP, 1420},
		{"the sequence wraps, and the ID", tcp(ours, theirs, 0xfffffff0, 0x10, payload(3000), func(p *packet) { p.id = 0xffff }), kernel.SegmentTCP, 1000},
		{"the end is asked for", tcp(ours, theirs, 7, 0x10|tcpFIN|tcpPSH, payload(3000)), kernel.SegmentTCP, 1000},
		{"congestion", tcp(ours, theirs, 7, 0x10|tcpCWR, payload(3000), func(p *packet) { p.tos = 1 }), kernel.SegmentTCP, 1000},
		{"more than one call takes", tcp(ours, theirs, 7, 0x10, payload(40000)), kernel.SegmentTCP, 60},
		{"UDP", udp(ours, theirs, payload(60001)), kernel.SegmentUDP, 1200},
		{"small UDP", udp(ours, theirs, payload(640)), kernel.SegmentUDP, 10},
		{"IP options", tcp(ours, theirs, 7, 0x10, payload(3000), func(p *packet) { p.options = []byte{7, 4, 4, 0} }), kernel.SegmentTCP, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.tunnel.Send = func(train kernel.Train) error {
				if n := count(&train); n > kernel.MaxTrain || length(&train) > kernel.MaxTrainBytes {
					t.Errorf("a train of %d", n)
				}
				return nil
			}
			sent := r.host(left(c.whole, c.kind, c.size))
			h := int(c.whole[0]&15) * 4
			all, _ := headers(c.whole, h, c.kind == kernel.SegmentTCP)
			if len(sent) != (len(c.whole)-all+c.size-1)/c.size {
				t.Fatalf("%d segments", len(sent))
			}
			var got []byte
			for i, s := range sent {
				valid(t, s.Bytes)
				checkSegment(t, c.whole, s.Bytes, h, i, len(got), i == len(sent)-1)
				got = append(got, s.Bytes[all:]...)
			}
			if !bytes.Equal(got, c.whole[all:]) {
				t.Error("the payload is another")
			}
		})
	}
}

// checkSegment checks the headers of segment i, that begins at bytes into the
// payload.
func checkSegment(t *testing.T, whole, s []byte, h, i, at int, last bool) {
	t.Helper()
	if s[8] != whole[8]-1 || be.Uint16(s[4:]) != be.Uint16(whole[4:])+uint16(i) || s[1] != whole[1] || !bytes.Equal(s[6:8], whole[6:8]) || !bytes.Equal(s[12:h+4], whole[12:h+4]) {
		t.Errorf("segment %d: IP % x", i, s[:h])
	}
	if s[9] != protoTCP {
		return
	}
	flags := whole[h+13]
	if !last {
		flags &^= tcpFIN | tcpPSH
	}
	if i > 0 {
		flags &^= tcpCWR
	}
	if be.Uint32(s[h+4:]) != be.Uint32(whole[h+4:])+uint32(at) || s[h+13] != flags || !bytes.Equal(s[h+8:h+13], whole[h+8:h+13]) || !bytes.Equal(s[h+20:h+32], whole[h+20:h+32]) {
		t.Errorf("segment %d: TCP % x", i, s[h:h+32])
	}
}

// reported checks that the host was told of p, and how.
func reported(t *testing.T, given []fake.Packet, p []byte, why trouble, mtu uint16) {
	t.Helper()
	if len(given) != 1 {
		t.Fatalf("%d errors", len(given))
	}
	b := given[0].Bytes
	valid(t, b)
	m := b[ipHeader:]
	if b[9] != protoICMP || m[0] != why.kind || m[1] != why.code || be.Uint16(m[6:]) != mtu || given[0].Left != (kernel.Offload{}) {
		t.Errorf("error % x", b)
	}
	if !bytes.Equal(b[12:16], []byte{10, 5, 1, 0}) || !bytes.Equal(b[16:20], p[12:16]) || len(b) > quoted {
		t.Errorf("error from % d to % d, %d bytes", b[12:16], b[16:20], len(b))
	}
	if quote := m[8:]; !bytes.Equal(quote[12:20], p[12:20]) || len(p) > 28 && !bytes.Equal(quote[20:28], p[20:28]) {
		t.Errorf("it quotes % x", quote)
	}
}

func TestWhoCannotGoOnIsReported(t *testing.T) {
	nowhere := [4]byte{10, 5, 9, 9}
	last := func(p *packet) { p.ttl = 1 }
	for _, c := range []struct {
		name string
		p    []byte
		why  trouble
		as   Counter
	}{
		{"no route", udp(ours, nowhere, payload(3)), unreachableNet, NoRoute},
		{"no route, long", udp(ours, nowhere, payload(1300)), unreachableNet, NoRoute},
		{"our own subnet", udp(ours, [4]byte{10, 5, 1, 99}, payload(3)), unreachableNet, NoRoute},
		{"TTL", udp(ours, theirs, payload(3), last), expired, Expired},
		{"TTL 0", udp(ours, theirs, payload(3), func(p *packet) { p.ttl = 0 }), expired, Expired},
		{"a ping", packet{src: ours, dst: nowhere, proto: protoICMP, ttl: 9, body: []byte{8, 0, 0, 0, 0, 0, 0, 0}}.bytes(), unreachableNet, NoRoute},
		{"the first fragment", packet{src: ours, dst: theirs, proto: protoUDP, ttl: 1, frag: flagMF, body: payload(8)}.bytes(), expired, Expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if sent := r.host(fake.Packet{Bytes: c.p}); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
			reported(t, r.tunnel.Given(), c.p, c.why, 0)
			r.counted(c.as, 1)
			r.counted(Answered, 1)
		})
	}
}

func TestWhoIsNotToBeTold(t *testing.T) {
	nowhere := [4]byte{10, 5, 9, 9}
	for name, p := range map[string][]byte{
		"an error":              packet{src: ours, dst: nowhere, proto: protoICMP, ttl: 9, body: []byte{3, 1, 0, 0, 0, 0, 0, 0}}.bytes(),
		"ICMP without a header": packet{src: ours, dst: nowhere, proto: protoICMP, ttl: 9}.bytes(),
		"a later fragment":      packet{src: ours, dst: nowhere, proto: protoUDP, ttl: 9, frag: 1, body: payload(8)}.bytes(),
		"to many":               udp(ours, [4]byte{224, 0, 0, 251}, payload(3)),
		"to all":                udp(ours, [4]byte{255, 255, 255, 255}, payload(3)),
		"from nobody":           udp([4]byte{}, nowhere, payload(3)),
	} {
		r := newRig(t)
		if sent, given := r.host(fake.Packet{Bytes: p}), r.tunnel.Given(); len(sent)+len(given) != 0 {
			t.Errorf("%s: sent %v, given %v", name, sent, given)
		}
		r.counted(NoRoute, 1)
	}
}

func TestWhatIsNoPacketGoesNowhere(t *testing.T) {
	good := udp(ours, theirs, payload(30))
	edit := func(f func(p []byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	for name, c := range map[string]struct {
		p  []byte
		as Counter
	}{
		"IPv6":                  {edit(func(p []byte) []byte { p[0] = 0x60; return p }), NotIPv4},
		"one byte":              {[]byte{0x45}, Malformed},
		"too long a header":     {edit(func(p []byte) []byte { p[0] = 0x4f; return p[:40] }), Malformed},
		"too short a header":    {edit(func(p []byte) []byte { p[0] = 0x44; return p }), Malformed},
		"it says it is longer":  {edit(func(p []byte) []byte { p[3]++; return p }), Malformed},
		"it says it is shorter": {edit(func(p []byte) []byte { p[3]--; return p }), Malformed},
		"shorter than a header": {good[:19], Malformed},
	} {
		r := newRig(t)
		if sent, given := r.host(fake.Packet{Bytes: c.p}), r.tunnel.Given(); len(sent)+len(given) != 0 {
			t.Errorf("%s: sent %v, given %v", name, sent, given)
		}
		r.counted(c.as, 1)
	}
	for name, p := range map[string]fake.Packet{
		"no size":          left(tcp(ours, theirs, 1, 0x10, payload(3000)), kernel.SegmentTCP, 0),
		"UDP cut as TCP":   left(udp(ours, theirs, payload(3000)), kernel.SegmentTCP, 1000),
		"TCP cut as UDP":   left(tcp(ours, theirs, 1, 0x10, payload(3000)), kernel.SegmentUDP, 1000),
		"no payload":       left(tcp(ours, theirs, 1, 0x10, nil), kernel.SegmentTCP, 1000),
		"half a header":    {Bytes: packet{src: ours, dst: theirs, proto: protoTCP, ttl: 9, body: payload(15)}.bytes(), Left: kernel.Offload{Segment: kernel.SegmentTCP, SegmentSize: 9}},
		"a header of zero": {Bytes: packet{src: ours, dst: theirs, proto: protoTCP, ttl: 9, body: make([]byte, 40)}.bytes(), Left: kernel.Offload{Segment: kernel.SegmentTCP, SegmentSize: 9}},
	} {
		r := newRig(t)
		if sent := r.host(p); len(sent) != 0 {
			t.Errorf("%s: sent %v", name, sent)
		}
		r.counted(Malformed, 1)
	}
}

func TestTooBigForThePath(t *testing.T) {
	r := newRig(t)
	r.tunnel.MTU = 1400
	df := udp(ours, theirs, payload(1400))
	if sent := r.host(fake.Packet{Bytes: df}); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
	reported(t, r.tunnel.Given(), df, tooBig, 1400-28)
	r.counted(TooBig, 1)

	// Of the segments of one packet the sender is told once; the last one,
	// which fits, goes.
	whole := tcp(ours, theirs, 1, 0x10, payload(14200+100))
	if sent := r.host(left(whole, kernel.SegmentTCP, 1420)); len(sent) != 1 {
		t.Errorf("%d sent", len(sent))
	}
	reported(t, r.tunnel.Given(), whole, tooBig, 1400-28)
}

func TestFragments(t *testing.T) {
	options := []byte{7, 3, 4, 0x88, 4, 0, 9, 0} // record route, which is not copied; stream ID, which is
	for _, c := range []struct {
		name string
		p    []byte
		mtu  int
	}{
		{"in two", udp(ours, theirs, payload(1400), func(p *packet) { p.frag = 0 }), 1400},
		{"in many", udp(ours, theirs, payload(1401), func(p *packet) { p.frag = 0 }), 128},
		{"with options", udp(ours, theirs, payload(1401), func(p *packet) { p.frag, p.options = 0, options }), 576},
		{"a fragment of a fragment", packet{src: ours, dst: theirs, proto: protoUDP, ttl: 9, frag: flagMF | 100, body: payload(1000)}.bytes(), 600},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.tunnel.MTU = c.mtu
			sent := r.host(fake.Packet{Bytes: c.p})
			h := int(c.p[0]&15) * 4
			first := int(be.Uint16(c.p[6:]) & offsetMask)
			body := make([]byte, len(c.p)-h)
			for i, s := range sent {
				valid(t, s.Bytes)
				place := be.Uint16(s.Bytes[6:])
				more := place&flagMF != 0
				if len(s.Bytes) > c.mtu-28 || more != (i < len(sent)-1 || be.Uint16(c.p[6:])&flagMF != 0) || !bytes.Equal(s.Bytes[4:6], c.p[4:6]) {
					t.Errorf("fragment %d: % x", i, s.Bytes[:h])
				}
				if i > 0 && h > ipHeader && !bytes.Equal(s.Bytes[20:28], []byte{1, 1, 1, 0x88, 4, 0, 9, 0}) {
					t.Errorf("fragment %d has options % x", i, s.Bytes[20:28])
				}
				copy(body[(int(place&offsetMask)-first)*8:], s.Bytes[h:])
			}
			if len(sent) < 2 || !bytes.Equal(body, c.p[h:]) {
				t.Errorf("%d fragments do not make the packet", len(sent))
			}
			r.counted(Fragmented, 1)
		})
	}
	r := newRig(t)
	r.tunnel.MTU = 55
	if sent := r.host(fake.Packet{Bytes: udp(ours, theirs, payload(100), func(p *packet) { p.frag = 0 })}); len(sent) != 0 {
		t.Errorf("there is no room for anything, but %v", sent)
	}
	r.counted(TooBig, 1)
	// Nor is anybody told of a size that no host may have.
	if r.host(fake.Packet{Bytes: udp(ours, theirs, payload(100))}); len(r.tunnel.Given()) != 0 {
		t.Error("told of an MTU of 27")
	}
}

// TestAPacketThatComesAlone goes before the next one is looked at, if the one before
// came alone, too; it is soon found out that it did not.
func TestAPacketThatComesAlone(t *testing.T) {
	r := newRig(t)
	var trains []int
	r.tunnel.Send = func(train kernel.Train) error {
		trains = append(trains, count(&train))
		return nil
	}
	p := fake.Packet{Bytes: udp(ours, theirs, payload(10))}
	r.host(p, p, p)
	r.host(p)
	r.host(p, p, p, p, p, p, p, p, p, p, p, p)
	for range lookAgain - 1 {
		r.host()
	}
	if want := []int{3, 1, 1, 1, 1, 1, 1, 1, 1, 5}; !slices.Equal(trains, want) {
		t.Errorf("sent %v at a time, not %v", trains, want)
	}
	at := udp(theirs, ours, payload(10))
	given := []int{len(apart(t, r.peer(at)))}
	for range 12 {
		r.tunnel.Arrive(second, len(at), slices.Clone(at))
	}
	for range lookAgain {
		given = append(given, len(apart(t, r.receive())))
	}
	if want := []int{1, 1, 1, 1, 1, 1, 1, 1, 5}; !slices.Equal(given, want) {
		t.Errorf("given %v at a time, not %v", given, want)
	}
}

func TestAHostThatIsNotThere(t *testing.T) {
	r := newRig(t)
	r.tunnel.Send = func(train kernel.Train) error {
		if train.To == second {
			return kernel.ErrUnreachable
		}
		return nil
	}
	p := udp(ours, theirs, payload(10))
	sent := r.host(fake.Packet{Bytes: p}, fake.Packet{Bytes: udp(ours, [4]byte{10, 5, 2, 200}, payload(10))})
	if len(sent) != 1 || sent[0].To != third {
		t.Errorf("the other one: %v", sent)
	}
	reported(t, r.tunnel.Given(), p, unreachableHost, 0)
	r.counted(Unreachable, 1)
	r.tunnel.Send = func(kernel.Train) error { return errors.New("no") }
	r.host(fake.Packet{Bytes: p})
	r.counted(Failed, 1)
	r.counted(Answered, 1)
}

func TestTrainsKeepTheOrder(t *testing.T) {
	r := newRig(t)
	var trains []int
	r.tunnel.Send = func(train kernel.Train) error {
		trains = append(trains, count(&train))
		return nil
	}
	var want [][]byte
	var all []fake.Packet
	other := [4]byte{10, 5, 2, 200}
	for _, c := range []struct {
		n, size int
		dst     [4]byte
	}{{3, 100, theirs}, {2, 200, theirs}, {1, 50, theirs}, {1, 50, theirs}, {2, 50, other}, {70, 10, theirs}} {
		for range c.n {
			p := udp(ours, c.dst, payload(c.size))
			want = append(want, older(p))
			all = append(all, fake.Packet{Bytes: p})
		}
	}
	sent := r.host(all...)
	for i := range want {
		if !bytes.Equal(sent[i].Bytes, want[i]) {
			t.Fatalf("%d is another", i)
		}
	}
	// What is shorter ends a train; so do another peer and the kernel's bound.
	if len(sent) != len(want) || len(trains) != 6 || trains[0] != 3 || trains[1] != 3 || trains[2] != 1 || trains[3] != 2 || trains[4] != 64 || trains[5] != 6 {
		t.Errorf("%d sent, in trains of %v", len(sent), trains)
	}
}

func TestErrorsAreLimited(t *testing.T) {
	var l limit
	now := time.Unix(1000, 0)
	took := 0
	for range 200 {
		if l.take(now) {
			took++
		}
	}
	if took != errorsAtOnce {
		t.Errorf("%d at once", took)
	}
	if !l.take(now.Add(time.Millisecond)) || l.take(now.Add(time.Millisecond)) {
		t.Error("one more a millisecond")
	}
}
