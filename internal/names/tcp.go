package names

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Times of a TCP connection, RFC 7766, section 6.2.3.
const (
	idleTimeout  = 10 * time.Second // without a query
	writeTimeout = 5 * time.Second  // for a client that does not read
)

// serveTCP accepts connections until the listener is closed.
func (s *sandbox) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.n.log.Debug("cannot accept a connection", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !s.adopt(c) {
			c.Close()
			continue
		}
		s.wg.Go(func() {
			defer s.disown(c)
			s.serveConn(c)
		})
	}
}

// adopt makes c one of the sandbox's connections, if there is room.
func (s *sandbox) adopt(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= connsPerSandbox {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *sandbox) disown(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.Close()
}

// stream is the sending side of a connection. Answers are sent as they come,
// in any order (RFC 7766, section 7).
type stream struct {
	mu   sync.Mutex
	conn net.Conn
}

func (t *stream) send(r []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	b := append(append(make([]byte, 0, 2+len(r)), byte(len(r)>>8), byte(len(r))), r...)
	if _, err := t.conn.Write(b); err != nil {
		t.conn.Close() // half an answer may be on the way: nothing more can follow it
	}
}

// serveConn answers the queries of one connection until the client closes its
// side, is silent for too long or sends what is no query, and then waits for
// the answers still on their way.
func (s *sandbox) serveConn(c net.Conn) {
	var pending sync.WaitGroup
	defer pending.Wait()
	out := &stream{conn: c}
	in := bufio.NewReaderSize(c, maxQuery)
	buf := make([]byte, maxQuery)
	var q query
	for {
		c.SetReadDeadline(time.Now().Add(idleTimeout))
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n < headerLen || n > maxQuery {
			return
		}
		m := buf[:n]
		if _, err := io.ReadFull(in, m); err != nil {
			return
		}
		s.counts.queries.Add(1)
		switch q.parse(m) {
		case ignored:
			continue
		case standard:
			if r, ask := s.n.quick(s.view.Load(), &q, m, maxMessage); ask == nil {
				out.send(r)
				continue
			}
		}
		pending.Add(1)
		s.later(m, false, out.send, pending.Done)
	}
}
