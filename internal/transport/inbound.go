package transport

import (
	"errors"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// inbound takes packets from peers to the host.
type inbound struct {
	t        *Transport
	lane     kernel.Lane
	arrivals []kernel.Arrival
	groups   groups
	alone    alone
	lost     error // the device is gone
}

// trainsAtOnce is how many trains are received at once. One is up to 64 KiB;
// what was received last should still be in the processor's cache.
const trainsAtOnce = 16

func newInbound(t *Transport, l kernel.Lane) *inbound {
	i := &inbound{t: t, lane: l, arrivals: make([]kernel.Arrival, trainsAtOnce), groups: newGroups(t.tunnel)}
	for a := range i.arrivals {
		i.arrivals[a].Data = make([]byte, kernel.MaxPacket)
	}
	return i
}

// some gives the host what has arrived, or enough of it.
func (i *inbound) some() error {
	n, err := i.lane.Receive(i.arrivals[:i.alone.most(trainsAtOnce)])
	if err != nil {
		return err
	}
	i.alone.came(n, false)
	for a := range i.arrivals[:n] {
		i.train(&i.arrivals[a])
	}
	i.flush()
	return i.lost
}

// train takes what came in one piece from one host.
func (i *inbound) train(a *kernel.Arrival) {
	size, known := max(a.Size, 1), i.t.peers.knows(a.From.Addr())
	for data := a.Data; len(data) > 0; {
		n := min(size, len(data))
		i.packet(data[:n:n], a.From.Addr(), known)
		data = data[n:]
	}
}

// packet takes one packet; known: from the address of a peer's host.
func (i *inbound) packet(p []byte, host netip.Addr, known bool) {
	h := header(p)
	if h == 0 || fold(sum(p[:h], 0)) != 0xffff {
		i.t.tally.add(Malformed, 1)
		return
	}
	from := source(p)
	if !isUnicast(from) || i.t.isLocal(from) {
		i.t.tally.add(Martian, 1)
		return
	}
	if !known && !i.t.peers.has(from) {
		i.t.tally.add(Stranger, 1)
		i.t.once("packets that are no host's of the network come, and are dropped", "host", host, "source", from)
		return
	}
	if !i.t.isLocal(destination(p)) {
		i.t.tally.add(NotOurs, 1)
		return
	}
	if !age(p) {
		i.t.tally.add(Expired, 1)
		i.answer(p, expired)
		return
	}
	if !i.groups.add(p, h) {
		i.flush()
		i.groups.add(p, h)
	}
}

// flush gives the host what was received.
func (i *inbound) flush() {
	packets, bytes := 0, 0
	for n := range i.groups.all {
		g := &i.groups.all[n]
		err := i.lane.Write(i.groups.whole(g))
		if err != nil && g.count > 1 && !catenet.IsNotFound(err) {
			i.t.refused.Add(1)
			i.t.once("the device does not take segments together: packets go one by one, which costs more", "err", err)
			err = i.each(g)
		}
		switch {
		case err == nil:
			packets += g.count
			bytes += g.length + (g.count-1)*g.all
		case catenet.IsNotFound(err):
			i.lost = err
		default:
			i.t.tally.add(Failed, g.count)
			i.t.once("packets cannot be given to the host", "err", err)
		}
	}
	i.groups.reset()
	i.t.tally.add(Received, packets)
	i.t.tally.add(ReceivedBytes, bytes)
}

// each gives the host the packets of a group one by one.
func (i *inbound) each(g *group) (err error) {
	for _, p := range i.groups.packets(g) {
		err = errors.Join(err, i.lane.Write([][]byte{p}, kernel.Offload{}))
	}
	return err
}

// answer tells who sent a packet why it did not go on: the peer it came from.
func (i *inbound) answer(p []byte, why trouble) {
	to, ok := i.t.peers.find(source(p))
	if !ok {
		return
	}
	if reply := i.t.report(p, why, 0); reply != nil {
		if _, err := i.lane.Send([]kernel.Train{{To: to, Size: len(reply), Parts: [][]byte{reply}}}); err != nil {
			i.t.once("an error cannot be reported", "err", err)
		}
	}
}
