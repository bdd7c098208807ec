package names

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// perBatch is how many datagrams one system call moves at most. (Batches of
// 16 and more give a fifth more queries a second than single calls; a lone
// query takes as long either way.)
const perBatch = 32

// batch is what it takes to answer datagrams. It is lent while there are
// some: an idle sandbox has none.
type batch struct {
	in, out []ipv4.Message
	q       query
}

func newBatch() any {
	b := &batch{in: make([]ipv4.Message, perBatch), out: make([]ipv4.Message, perBatch)}
	for i := range perBatch {
		b.in[i].Buffers = [][]byte{make([]byte, maxQuery)}
		b.out[i].Buffers = make([][]byte, 1) // the reply is in its query's place
	}
	return b
}

// serveUDP answers datagrams until the socket is closed or handed over.
func (s *sandbox) serveUDP() {
	conn := ipv4.NewPacketConn(s.udp)
	first := make([]ipv4.Message, 1)
	for {
		_, err := conn.ReadBatch(first, syscall.MSG_PEEK)
		if err == nil {
			err = s.answerBatch(conn)
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.n.log.Debug("cannot receive queries", "err", err)
			time.Sleep(10 * time.Millisecond) // whatever it is, it must not spin
		}
	}
}

// answerBatch answers the datagrams that are there.
func (s *sandbox) answerBatch(conn *ipv4.PacketConn) error {
	b := s.n.batches.Get().(*batch)
	defer s.n.batches.Put(b)
	n, err := conn.ReadBatch(b.in, 0)
	if err != nil {
		return err
	}
	s.counts.queries.Add(uint64(n))
	replies := 0
	view := s.view.Load()
	for i := range b.in[:n] {
		m := b.in[i].Buffers[0][:b.in[i].N]
		if r := s.quickUDP(view, &b.q, m, b.in[i].Addr); r != nil {
			b.out[replies].Buffers[0], b.out[replies].Addr = r, b.in[i].Addr
			replies++
		}
	}
	s.sendBatch(conn, b.out[:replies])
	return nil
}

// quickUDP returns the reply to a datagram, in its place, or nil if there is
// none or it takes the slow way.
func (s *sandbox) quickUDP(v *view, q *query, m []byte, from net.Addr) []byte {
	switch q.parse(m) {
	case ignored:
		return nil
	case standard:
		if r, ask := s.n.quick(v, q, m, q.size); ask == nil {
			return r
		}
	}
	s.later(m, true, datagramClient{s, from.(*net.UDPAddr).AddrPort()})
	return nil
}

// datagramClient asked by UDP.
type datagramClient struct {
	s    *sandbox
	from netip.AddrPort
}

func (c datagramClient) send(r []byte) {
	if _, err := c.s.udp.WriteToUDPAddrPort(r, c.from); err != nil && c.s.ctx.Err() == nil {
		c.s.n.log.Debug("cannot send an answer", "to", c.from, "err", err)
	}
}

func (c datagramClient) keep(q []byte) { c.s.keepDatagram(c.from, q) }

func (c datagramClient) done() {}

// sendBatch sends all messages; one that the kernel refuses is left out, as
// any datagram may be lost.
func (s *sandbox) sendBatch(conn *ipv4.PacketConn, ms []ipv4.Message) {
	for len(ms) > 0 {
		n, err := conn.WriteBatch(ms, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.n.log.Debug("cannot send an answer", "to", ms[0].Addr, "err", err)
			n = max(n, 1)
		}
		ms = ms[n:]
	}
}
