package names

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// maxBatch is how many datagrams one system call moves at most. A sandbox
// begins with one and is given more as it fills what it has: an idle one
// holds one buffer. (Batches of 16 and more give a fifth more queries a
// second than single calls; a lone query takes as long either way.)
const maxBatch = 32

// serveUDP answers datagrams until the socket is closed or handed over.
func (s *sandbox) serveUDP() {
	conn := ipv4.NewPacketConn(s.udp)
	in, out := grow(nil, maxQuery), grow(nil, 0) // replies have buffers already
	var q query
	for {
		n, err := conn.ReadBatch(in, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.n.log.Debug("cannot receive queries", "err", err)
			time.Sleep(10 * time.Millisecond) // whatever it is, it must not spin
			continue
		}
		s.counts.queries.Add(uint64(n))
		replies := 0
		view := s.view.Load()
		for i := range in[:n] {
			m := in[i].Buffers[0][:in[i].N]
			if r := s.quickUDP(view, &q, m, in[i].Addr); r != nil {
				out[replies].Buffers[0], out[replies].Addr = r, in[i].Addr
				replies++
			}
		}
		s.sendBatch(conn, out[:replies])
		if n == len(in) && n < maxBatch {
			in, out = grow(in, maxQuery), grow(out, 0)
		}
	}
}

// grow doubles a batch; size is that of each new buffer, in bytes.
func grow(ms []ipv4.Message, size int) []ipv4.Message {
	for range max(1, len(ms)) {
		ms = append(ms, ipv4.Message{Buffers: [][]byte{make([]byte, size)}})
	}
	return ms
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
