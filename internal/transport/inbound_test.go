package transport

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// apart cuts what the host was given into the packets that it stands for, as
// the kernel would.
func apart(t testing.TB, given []fake.Packet) (all [][]byte) {
	t.Helper()
	for _, g := range given {
		if g.Left.Segment == kernel.SegmentNone {
			all = append(all, g.Bytes)
			continue
		}
		r := newRig(t)
		if err := r.tr.peers.Set(Peer{netip.MustParsePrefix("10.5.0.0/16"), second}); err != nil {
			t.Fatal(err)
		}
		for _, d := range r.host(g) {
			d.Bytes[8]++ // which this took off
			seal(d.Bytes, ipHeader)
			all = append(all, d.Bytes)
		}
	}
	return all
}

// flowing makes n segments of one flow of TCP from a peer.
func flowing(n, size int) (all [][]byte) {
	for i := range n {
		all = append(all, tcp(theirs, ours, uint32(1000+i*size), 0x10, payload(size), func(p *packet) { p.id += uint16(i) }))
	}
	return all
}

func TestSegmentsOfAFlowBecomeOnePacket(t *testing.T) {
	one := flowing(1, 700)[0]
	last := tcp(theirs, ours, 1000+3*700, 0x10|tcpPSH|tcpFIN, payload(301), func(p *packet) { p.id += 3 })
	datagrams := func(sizes ...int) (all [][]byte) {
		for i, n := range sizes {
			all = append(all, udp(theirs, ours, payload(n), func(p *packet) { p.id, p.frag = uint16(i), 0 }))
		}
		return all
	}
	for _, c := range []struct {
		name    string
		packets [][]byte
		given   int
	}{
		{"one", flowing(1, 700), 1},
		{"three", flowing(3, 700), 1},
		{"odd ones", flowing(3, 701), 1},
		{"the end", append(flowing(3, 700), last), 1},
		{"as many as fit", flowing(47, 1420), 2},
		{"small ones", flowing(130, 40), 3},
		{"UDP", datagrams(500, 500, 500), 1},
		{"UDP with a shorter end", datagrams(500, 500, 499, 500), 2},
		{"UDP with a longer end", datagrams(500, 500, 501, 500), 2},
		{"many of UDP", datagrams(make([]int, 130)...), 130},
		{"two flows by turns", interleaved(flowing(3, 700), datagrams(500, 500, 500)), 2},
		{"the same one twice", [][]byte{one, one}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var train []byte
			same := true
			for _, p := range c.packets {
				same = same && len(p) == len(c.packets[0])
				train = append(train, p...)
			}
			var given []fake.Packet
			if same { // as GRO would have it
				for rest := train; len(rest) > 0; {
					n := min(len(rest), kernel.MaxTrainBytes/len(one)*len(c.packets[0]))
					r.tunnel.Arrive(second, len(c.packets[0]), rest[:n])
					rest = rest[n:]
				}
				given = r.receive()
			} else {
				given = r.peer(c.packets...)
			}
			if len(given) != c.given {
				t.Errorf("%d given, not %d", len(given), c.given)
			}
			checkOrder(t, apart(t, given), c.packets)
			r.counted(Received, uint64(len(c.packets)))
			r.counted(ReceivedBytes, uint64(len(train)))
		})
	}
}

func interleaved(a, b [][]byte) (all [][]byte) {
	for i := range a {
		all = append(all, a[i], b[i])
	}
	return all
}

// checkOrder checks that these are the packets, older by a router: each flow in
// its order.
func checkOrder(t *testing.T, got, packets [][]byte) {
	t.Helper()
	want := make(map[flow][][]byte)
	for _, p := range packets {
		var g group
		g.ip = int(p[0]&15) * 4
		g.read(p)
		want[g.flow] = append(want[g.flow], older(p))
	}
	for _, p := range got {
		var g group
		g.ip = int(p[0]&15) * 4
		g.read(p)
		if w := want[g.flow]; len(w) == 0 || !bytes.Equal(w[0], p) {
			t.Fatalf("given % x", p[:min(len(p), 64)])
		}
		want[g.flow] = want[g.flow][1:]
	}
	if len(got) != len(packets) {
		t.Errorf("%d given of %d", len(got), len(packets))
	}
}

// TestWhatDoesNotFollow: the second of three segments is changed, and is given
// as it came; nor does the third one follow the first.
func TestWhatDoesNotFollow(t *testing.T) {
	edit := func(f func(p *packet)) []byte {
		return tcp(theirs, ours, 1700, 0x10, payload(700), func(p *packet) { p.id = 101 }, f)
	}
	plain := func(p *packet) {}
	for name, second := range map[string][]byte{
		"a gap":             tcp(theirs, ours, 1701, 0x10, payload(700), plain),
		"an earlier one":    tcp(theirs, ours, 300, 0x10, payload(700), plain),
		"acknowledgement":   edit(func(p *packet) { p.body[8]++ }),
		"window":            edit(func(p *packet) { p.body[14]++ }),
		"timestamp":         edit(func(p *packet) { p.body[26]++ }),
		"urgent pointer":    edit(func(p *packet) { p.body[18]++ }),
		"reserved bits":     edit(func(p *packet) { p.body[12] |= 1 }),
		"SYN":               edit(func(p *packet) { p.body[13] |= tcpSYN }),
		"RST":               edit(func(p *packet) { p.body[13] |= tcpRST }),
		"URG":               edit(func(p *packet) { p.body[13] |= tcpURG }),
		"ECE":               edit(func(p *packet) { p.body[13] |= 0x40 }),
		"CWR":               edit(func(p *packet) { p.body[13] |= tcpCWR }),
		"no ACK":            edit(func(p *packet) { p.body[13] = 0 }),
		"congestion":        edit(func(p *packet) { p.tos = 3 }),
		"TTL":               edit(func(p *packet) { p.ttl-- }),
		"may be fragmented": edit(func(p *packet) { p.frag = 0 }),
		"the evil bit":      edit(func(p *packet) { p.frag |= 0x8000 }),
		"IP options":        edit(func(p *packet) { p.options = []byte{1, 1, 1, 1} }),
		"no payload":        edit(func(p *packet) { p.body = p.body[:32] }),
		"a longer one":      edit(func(p *packet) { p.body = append(p.body, 1) }),
		"other options":     edit(func(p *packet) { p.body[12] = 7 << 4 }),
		"a longer header":   edit(func(p *packet) { p.body[12] = 15 << 4 }),
		"a header too long": edit(func(p *packet) { p.body = p.body[:50]; p.body[12] = 15 << 4 }),
	} {
		t.Run(name, func(t *testing.T) {
			all := flowing(3, 700)
			all[1] = second
			given := newRig(t).peer(all...)
			if len(given) != 3 {
				t.Errorf("%d given", len(given))
			}
			for i, p := range all {
				if !bytes.Equal(given[i].Bytes, older(p)) || given[i].Left != (kernel.Offload{}) {
					t.Errorf("%d: % x", i, given[i].Bytes[:64])
				}
			}
		})
	}
}

// TestIDs: they count up, or mean nothing.
func TestIDs(t *testing.T) {
	pair := func(frag uint16, ids ...uint16) (all [][]byte) {
		for i, id := range ids {
			all = append(all, tcp(theirs, ours, uint32(1000+i*700), 0x10, payload(700), func(p *packet) { p.id, p.frag = id, frag }))
		}
		return all
	}
	for _, c := range []struct {
		name    string
		packets [][]byte
		given   int
	}{
		{"count up", pair(0, 65535, 0, 1), 1},
		{"the same", pair(0, 5, 5), 2},
		{"a gap", pair(0, 5, 7), 2},
		{"the same, of what is never fragmented", pair(flagDF, 0, 0, 0), 1},
	} {
		if given := newRig(t).peer(c.packets...); len(given) != c.given {
			t.Errorf("%s: %d given", c.name, len(given))
		}
	}
}

// TestDamageIsNotVouchedFor: whichever segment is damaged goes as it came, for
// the host to drop; the rest may go together.
func TestDamageIsNotVouchedFor(t *testing.T) {
	for damaged := range 4 {
		for _, fresh := range []func() [][]byte{
			func() [][]byte { return flowing(4, 700) },
			func() (all [][]byte) {
				for range 4 {
					all = append(all, udp(theirs, ours, payload(700)))
				}
				return all
			},
		} {
			all := fresh()
			all[damaged][600] ^= 4
			found := false
			for _, g := range newRig(t).peer(all...) {
				if bytes.Equal(g.Bytes, older(all[damaged])) && g.Left == (kernel.Offload{}) {
					found = true
				} else if g.Left.Checksum && bytes.Contains(g.Bytes, all[damaged][560:640]) {
					t.Errorf("%d: vouched for", damaged)
				}
			}
			if !found {
				t.Errorf("%d is not as it came", damaged)
			}
		}
	}
	// A datagram without a checksum has nothing to be looked at.
	none := func() []byte {
		p := udp(theirs, ours, payload(100))
		p[26], p[27] = 0, 0
		return p
	}
	if given := newRig(t).peer(none(), none()); len(given) != 2 {
		t.Errorf("without checksums: %d given", len(given))
	}
}

// TestWhatIsDropped: nothing of it reaches the host, or any peer.
func TestWhatIsDropped(t *testing.T) {
	good := udp(theirs, ours, payload(30))
	edit := func(f func(p []byte)) []byte {
		p := append([]byte(nil), good...)
		f(p)
		return p
	}
	for name, c := range map[string]struct {
		p  []byte
		as Counter
	}{
		"for a peer":             {udp([4]byte{10, 5, 2, 200}, theirs, nil), NotOurs},
		"for nobody":             {udp(theirs, [4]byte{10, 5, 9, 9}, nil), NotOurs},
		"for the world":          {udp(theirs, [4]byte{198, 51, 100, 1}, nil), NotOurs},
		"for many":               {udp(theirs, [4]byte{224, 0, 0, 1}, nil), NotOurs},
		"for all":                {udp(theirs, [4]byte{255, 255, 255, 255}, nil), NotOurs},
		"for loopback":           {udp(theirs, [4]byte{127, 0, 0, 1}, nil), NotOurs},
		"from ourselves":         {udp([4]byte{10, 5, 1, 9}, ours, nil), Martian},
		"from loopback":          {udp([4]byte{127, 0, 0, 1}, ours, nil), Martian},
		"from nobody":            {udp([4]byte{}, ours, nil), Martian},
		"from many":              {udp([4]byte{224, 0, 0, 1}, ours, nil), Martian},
		"from all":               {udp([4]byte{255, 255, 255, 255}, ours, nil), Martian},
		"IPv6":                   {edit(func(p []byte) { p[0] = 0x65 }), Malformed},
		"a wrong checksum":       {edit(func(p []byte) { p[10]++ }), Malformed},
		"it says it is longer":   {edit(func(p []byte) { p[3]++; seal(p, 20) }), Malformed},
		"it says it is shorter":  {edit(func(p []byte) { p[3]--; seal(p, 20) }), Malformed},
		"a header too short":     {edit(func(p []byte) { p[0] = 0x44; seal(p, 16) }), Malformed},
		"a header too long":      {edit(func(p []byte) { p[0] = 0x4f }), Malformed},
		"nothing but an address": {good[:19], Malformed},
		"one byte":               {good[:1], Malformed},
	} {
		r := newRig(t)
		if given, sent := r.peer(c.p), r.tunnel.Sent(); len(given)+len(sent) != 0 {
			t.Errorf("%s: given %v, sent %v", name, given, sent)
		}
		r.counted(c.as, 1)
	}
}

// TestFromElsewhere: from no peer's address comes only what is of a peer's subnet,
// which a peer may send from any address; a peer's own host sends for others, too.
func TestFromElsewhere(t *testing.T) {
	r, world := newRig(t), [4]byte{198, 51, 100, 1}
	for _, c := range []struct {
		from string
		p    []byte
		as   Counter
	}{
		{"192.0.2.66:40000", udp(theirs, ours, payload(30)), Received},
		{"192.0.2.66:8285", udp(world, ours, payload(30)), Stranger},
		{"192.0.2.66:8285", udp([4]byte{10, 5, 9, 9}, ours, payload(30)), Stranger},
		{"192.0.2.66:8285", udp([4]byte{10, 5, 1, 9}, ours, payload(30)), Martian},
		{"192.0.2.2:8285", udp(world, ours, payload(30)), Received},
	} {
		before := r.tr.tally[c.as].Load()
		r.tunnel.Arrive(netip.MustParseAddrPort(c.from), len(c.p), slices.Concat(c.p, c.p))
		given := r.receive()
		if (len(given) != 0) != (c.as == Received) {
			t.Errorf("from %s: given %v", c.from, given)
		}
		r.counted(c.as, before+2)
	}
}

func TestTheTTLEndsHere(t *testing.T) {
	r := newRig(t)
	p := udp(theirs, ours, payload(3), func(p *packet) { p.ttl = 1 })
	if given := r.peer(p); len(given) != 0 {
		t.Errorf("given %v", given)
	}
	sent := r.tunnel.Sent()
	if len(sent) != 1 || sent[0].To != second {
		t.Fatalf("sent %v", sent)
	}
	reported(t, []fake.Packet{{Bytes: sent[0].Bytes}}, p, expired, 0)
	// Who sent it is no peer's: nobody can be told.
	if r.peer(udp([4]byte{198, 51, 100, 1}, ours, payload(3), func(p *packet) { p.ttl = 1 })); len(r.tunnel.Sent()) != 0 {
		t.Error("told to nobody")
	}
	r.counted(Expired, 2)
}

// TestADeviceThatCannotCut some kind of packets is given each of those for itself,
// and the others together.
func TestADeviceThatCannotCut(t *testing.T) {
	var datagrams [][]byte
	for i := range uint16(3) {
		datagrams = append(datagrams, udp(theirs, ours, payload(700), func(p *packet) { p.id, p.frag = i, 0 }))
	}
	for _, c := range []struct {
		lacks     []kernel.Segment
		tcp, udps int // packets that the host is given
	}{
		{nil, 1, 1},
		{[]kernel.Segment{kernel.SegmentUDP}, 1, 3},
		{[]kernel.Segment{kernel.SegmentUDP, kernel.SegmentTCP}, 3, 3},
	} {
		for all, want := range map[*[][]byte]int{new(flowing(3, 700)): c.tcp, &datagrams: c.udps} {
			r := newRig(t, c.lacks...)
			given := r.peer(*all...)
			if len(given) != want {
				t.Errorf("without %v: %d packets of protocol %d are given, not %d", c.lacks, len(given), (*all)[0][9], want)
			}
			for i, p := range apart(t, given) {
				if !bytes.Equal(p, older((*all)[i])) {
					t.Errorf("without %v: packet %d is another, of %d bytes", c.lacks, i, len(p))
				}
			}
		}
	}
}

func TestADeviceThatTakesNoGroups(t *testing.T) {
	r := newRig(t)
	r.tunnel.Write = func(left kernel.Offload) error {
		if left.Segment != kernel.SegmentNone {
			return errors.New("invalid argument")
		}
		return nil
	}
	all := flowing(3, 700)
	given := r.peer(all...)
	for i := range all {
		if len(given) != 3 || !bytes.Equal(given[i].Bytes, older(all[i])) {
			t.Fatalf("given %v", given)
		}
	}
	r.counted(Received, 3)
	if n := r.tr.Traffic().Carried[refusals]; n != 1 {
		t.Errorf("refused %d", n)
	}
	r.tunnel.Write = func(kernel.Offload) error { return errors.New("no buffer") }
	r.peer(all...)
	r.counted(Failed, 3)
}

// TestItRunsUntilItEnds: between two hosts, until the context does or the device
// is gone.
func TestItRunsUntilItEnds(t *testing.T) {
	var net fake.Tunnels
	var all [2]*Transport
	var ends [2]*fake.Tunnel
	for i := range all {
		own, peer := byte(i+1), byte(2-i)
		bind := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 8285) }
		subnet := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, n, 0}), 24) }
		tunnel, err := net.OpenTunnel(t.Context(), kernel.TunnelSpec{Bind: bind(own), Lanes: 2})
		if err != nil {
			t.Fatal(err)
		}
		table := new(Table)
		if err := table.Change([]Peer{{subnet(peer), bind(peer)}}, nil); err != nil {
			t.Fatal(err)
		}
		if all[i], err = New(tunnel, table, subnet(own).Addr(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		all[i].SetLocal(subnet(own))
		ends[i] = net.At(bind(own))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for _, tr := range all {
		go func() { done <- tr.Run(ctx) }()
	}
	p := udp(ours, theirs, payload(100))
	ends[0].Offer(fake.Packet{Bytes: p})
	for {
		if given := ends[1].Given(); len(given) > 0 {
			if !bytes.Equal(given[0].Bytes, older(older(p))) {
				t.Errorf("given % x", given[0].Bytes)
			}
			break
		}
	}
	ends[1].Write = func(kernel.Offload) error { return catenet.NotFoundf("the device is gone") }
	ends[0].Offer(fake.Packet{Bytes: p})
	if err := <-done; !catenet.IsNotFound(err) {
		t.Errorf("the device is gone: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it was told to end: %v", err)
	}
}

// TestNothingIsAllocated for packets, in either direction.
func TestNothingIsAllocated(t *testing.T) {
	r := newRig(t)
	r.tunnel.Forgetful = true
	whole := left(tcp(ours, theirs, 1, 0x10, payload(60000)), kernel.SegmentTCP, 1420)
	small := fake.Packet{Bytes: udp(ours, theirs, payload(64))}
	segments := bytes.Join(flowing(40, 1400), nil)
	datagrams := bytes.Repeat(udp(theirs, ours, payload(64)), 60)
	allocated := testing.AllocsPerRun(100, func() {
		r.tunnel.Offer(whole)
		for range 20 {
			r.tunnel.Offer(small)
		}
		r.host()
		r.host()
		r.tunnel.Arrive(second, len(segments)/40, segments)
		r.tunnel.Arrive(second, len(datagrams)/60, datagrams)
		r.receive()
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
	if c := r.tr.Traffic().Carried; c[Sent.String()] != 101*(43+20) || c[Received.String()] != 101*100 {
		t.Errorf("counted %v", c)
	}
}
