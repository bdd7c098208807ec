package transport

import (
	"bytes"
	"errors"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// outbound takes packets from the host to peers.
type outbound struct {
	t      *Transport
	lane   kernel.Lane
	buffer []byte // packets as they were read, one behind the other
	used   int
	alone  alone
	trains trains
}

// enough is how many bytes are sent at once: about what stays in the
// processor's cache until it is read again.
const enough = 32 << 10

func newOutbound(t *Transport, l kernel.Lane) *outbound {
	return &outbound{t: t, lane: l, buffer: make([]byte, enough+16+kernel.ReadRoom), trains: newTrains()}
}

// some sends what the host has, or enough of it, together. It never waits for
// more.
func (o *outbound) some() error {
	n, most := 0, o.alone.most(enough)
	for o.used = 0; o.used < enough && n < most; n++ {
		p, left, err := o.lane.Read(o.buffer[o.used:][:kernel.ReadRoom])
		if err != nil {
			return err
		}
		if len(p) == 0 {
			break
		}
		o.packet(p, left)
		o.used += (kernel.ReadRoom - kernel.MaxPacket + len(p) + 15) &^ 15 // the next one is aligned, too
	}
	o.alone.came(n, o.used >= enough)
	o.flush()
	return nil
}

// packet finds the way of one packet from the host.
func (o *outbound) packet(p []byte, left kernel.Offload) {
	h := header(p)
	if h == 0 {
		if p[0]>>4 == 4 {
			o.t.tally.add(Malformed, 1)
		} else {
			o.t.tally.add(NotIPv4, 1)
		}
		return
	}
	to, ok := o.t.peers.find(destination(p))
	if !ok {
		o.t.tally.add(NoRoute, 1)
		o.answer(p, unreachableNet, 0)
		return
	}
	if !age(p) {
		o.t.tally.add(Expired, 1)
		o.answer(p, expired, 0)
		return
	}
	if left.Segment != kernel.SegmentNone {
		ok = o.cut(p, h, left, to)
	} else {
		ok = !left.Checksum || complete(p, int(left.ChecksumStart), int(left.ChecksumOffset))
		if ok {
			o.add(to, p, nil)
		}
	}
	if !ok {
		o.t.tally.add(Malformed, 1)
	}
}

// add appends a packet, in one part or two, to what is to be sent.
func (o *outbound) add(to netip.AddrPort, head, rest []byte) {
	if !o.trains.room() {
		o.flush()
	}
	o.trains.add(to, head, rest)
}

// flush sends what is to be sent.
func (o *outbound) flush() {
	rest := o.trains.all
	for len(rest) > 0 {
		n, err := o.lane.Send(rest)
		o.t.sent(rest[:n])
		if err == nil {
			break
		}
		o.refused(rest[n], err)
		rest = rest[n+1:]
	}
	o.trains.reset()
}

// sent counts trains.
func (t *Transport) sent(trains []kernel.Train) {
	packets, bytes := 0, 0
	for i := range trains {
		packets += count(&trains[i])
		bytes += length(&trains[i])
	}
	t.tally.add(Sent, packets)
	t.tally.add(SentBytes, bytes)
}

// refused deals with the packets of a train that was not sent, one by one.
func (o *outbound) refused(train kernel.Train, err error) {
	why := Failed
	switch {
	case errors.Is(err, kernel.ErrTooBig):
		why = TooBig
	case errors.Is(err, kernel.ErrUnreachable):
		why = Unreachable
	default:
		o.t.once("packets cannot be sent", "to", train.To, "err", err)
	}
	mtu := 0
	if why == TooBig {
		mtu = o.t.room(train.To.Addr())
	}
	var told []byte // the last one whose sender was told, and is not told again of the same flow
	for p := range packets(train) {
		switch {
		case why == TooBig && len(p) <= mtu:
			o.again(train.To, p)
			continue
		case why == TooBig && be.Uint16(p[6:])&flagDF == 0 && mtu > 0:
			o.fragment(train.To, p, mtu)
			continue
		}
		o.t.tally.add(why, 1)
		if why == Failed || told != nil && sameFlow(told, p) {
			continue
		}
		told = p
		if why == TooBig {
			o.answer(p, tooBig, mtu)
		} else {
			o.answer(p, unreachableHost, 0)
		}
	}
}

// sameFlow tells whether two packets have the same addresses and protocol, and
// ports if they have any.
func sameFlow(a, b []byte) bool {
	return a[9] == b[9] && bytes.Equal(a[12:min(24, len(a))], b[12:min(24, len(b))])
}

// room is the size of the biggest packet that a datagram to a host can carry;
// 0 if nobody knows.
func (t *Transport) room(host netip.Addr) int {
	mtu, err := t.tunnel.PathMTU(host)
	if err != nil {
		t.once("nobody knows how big a packet may be", "to", host, "err", err)
		return 0
	}
	return max(mtu-ipHeader-udpHeader, 0)
}

// again sends one packet alone.
func (o *outbound) again(to netip.AddrPort, p []byte) {
	one := []kernel.Train{{To: to, Size: len(p), Parts: [][]byte{p}}}
	if _, err := o.lane.Send(one); err != nil {
		o.t.tally.add(Failed, 1)
		o.t.once("packets cannot be sent", "to", to, "err", err)
		return
	}
	o.t.sent(one)
}

// fragment sends one packet in fragments that fit.
func (o *outbound) fragment(to netip.AddrPort, p []byte, mtu int) {
	all := fragments(p, mtu)
	for _, f := range all {
		o.again(to, f)
	}
	if len(all) == 0 {
		o.t.tally.add(TooBig, 1)
		return
	}
	o.t.tally.add(Fragmented, 1)
}

// answer tells who sent a packet why it did not go on: the host, by the device.
func (o *outbound) answer(p []byte, why trouble, mtu int) {
	if reply := o.t.report(p, why, mtu); reply != nil {
		if err := o.lane.Write([][]byte{reply}, kernel.Offload{}); err != nil && !catenet.IsNotFound(err) {
			o.t.once("an error cannot be reported", "err", err)
		}
	}
}
