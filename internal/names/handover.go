package names

import (
	"net"
	"net/netip"
	"time"
)

// Handed is what one sandbox's lookups are handed over to another resolver
// with: its sockets, and what was not answered yet.
type Handed struct {
	Sandbox   string
	UDP       *net.UDPConn
	TCP       *net.TCPListener
	Datagrams []Datagram
	Streams   []Stream
}

// Datagram is a query that came by UDP.
type Datagram struct {
	From    netip.AddrPort
	Message []byte
}

// Stream is a connection, and what was received on it and not answered:
// queries as they came, each behind its length, perhaps with the begin of one
// more.
type Stream struct {
	Conn   *net.TCPConn
	Unread []byte
}

// partingWrite is how long an answer that is being sent may still wait for a
// client that does not read.
const partingWrite = 100 * time.Millisecond

// HandOver stops reading from every sandbox, in the middle of whatever is
// under way, and returns what another resolver, or TakeBack, needs to go on as
// if nothing had happened. What arrives meanwhile waits in the sockets, which
// stay open. Nobody is served until then.
func (n *Names) HandOver() []Handed {
	n.mu.Lock()
	n.closed = true
	all := make([]*sandbox, 0, len(n.sandboxes))
	for _, s := range n.sandboxes {
		all = append(all, s)
	}
	n.mu.Unlock()
	for _, s := range all {
		s.part()
	}
	out := make([]Handed, 0, len(all))
	for _, s := range all {
		s.wg.Wait()
		out = append(out, s.rest)
	}
	return out
}

// TakeBack goes on with what HandOver has returned.
func (n *Names) TakeBack(handed []Handed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = false
	for _, h := range handed {
		if s := n.sandboxes[h.Sandbox]; s != nil && s.udp == h.UDP {
			s.begin(h)
		}
	}
}

// Inherit has Resume go on with what another resolver's HandOver returned.
func (n *Names) Inherit(handed []Handed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range handed {
		n.inherited[h.Sandbox] = h
	}
}

// Resume is Serve with the sockets that were handed over for the sandbox, and
// returns their port; 0 if there are none.
func (n *Names) Resume(conf Sandbox) (port uint16, err error) {
	n.mu.Lock()
	h, ok := n.inherited[conf.ID]
	delete(n.inherited, conf.ID)
	n.mu.Unlock()
	if !ok {
		return 0, nil
	}
	if err := n.serve(conf, h); err != nil {
		h.close()
		return 0, err
	}
	return h.UDP.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

// Disinherit closes what was handed over and nobody resumed.
func (n *Names) Disinherit() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, h := range n.inherited {
		h.close()
		delete(n.inherited, id)
	}
}

// close closes the sockets: there is nothing to flush.
func (h Handed) close() {
	h.UDP.Close()
	h.TCP.Close()
	for _, c := range h.Streams {
		c.Conn.Close()
	}
}

// part has everything of the sandbox end soon, and leave to s.rest what is not
// answered.
func (s *sandbox) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parting = true
	s.cancel()
	// What is set again meanwhile is set by somebody who then sees that the
	// context has ended. These fail where a socket is closed, which ends its
	// reader as well.
	past := time.Unix(1, 0)
	_ = s.udp.SetReadDeadline(past)
	_ = s.tcp.SetDeadline(past)
	for c := range s.conns {
		_ = c.SetReadDeadline(past)
		_ = c.SetWriteDeadline(time.Now().Add(partingWrite))
	}
}

// keepDatagram leaves a query to whoever comes next.
func (s *sandbox) keepDatagram(from netip.AddrPort, m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest.Datagrams = append(s.rest.Datagrams, Datagram{from, m})
}

// keepStream leaves a connection to whoever comes next, and reports whether
// the sandbox is being handed over at all.
func (s *sandbox) keepStream(c *net.TCPConn, unread []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parting {
		s.rest.Streams = append(s.rest.Streams, Stream{c, unread})
	}
	return s.parting
}
