package names

import (
	"bufio"
	"bytes"
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

// serveTCP accepts connections until the listener is closed or handed over.
func (s *sandbox) serveTCP() {
	for {
		c, err := s.tcp.AcceptTCP()
		if err != nil && (errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil) {
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
		s.wg.Go(func() { s.serveConn(c, nil) })
	}
}

// adopt makes c one of the sandbox's connections, if there is room.
func (s *sandbox) adopt(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= connsPerSandbox {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *sandbox) disown(c *net.TCPConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.Close()
}

// stream is the sending side of a connection. Answers are sent as they come,
// in any order (RFC 7766, section 7).
type stream struct {
	conn    *net.TCPConn
	pending sync.WaitGroup // queries on the slow way

	mu     sync.Mutex
	broken bool
	kept   []byte // queries that are handed over
}

func (t *stream) send(r []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	b := appendFrame(make([]byte, 0, 2+len(r)), r)
	if _, err := t.conn.Write(b); err != nil {
		t.broken = true
		t.conn.Close() // half an answer may be on the way: nothing more can follow it
	}
}

func (t *stream) keep(q []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = appendFrame(t.kept, q)
}

func (t *stream) done() { t.pending.Done() }

// appendFrame appends a message behind its length (RFC 1035, section 4.2.2).
func appendFrame(b, m []byte) []byte {
	return append(append(b, byte(len(m)>>8), byte(len(m))), m...)
}

// serveConn answers the queries of one connection, unread first, until the
// client closes its side, is silent for too long or sends what is no query, and
// then waits for the answers still on their way; or until it is handed over.
func (s *sandbox) serveConn(c *net.TCPConn, unread []byte) {
	out := &stream{conn: c}
	old := bytes.NewReader(unread)
	in := bufio.NewReaderSize(io.MultiReader(old, c), 2+maxQuery)
	s.converse(in, out)
	out.pending.Wait()
	if s.ctx.Err() != nil && !out.broken {
		rest, _ := in.Peek(in.Buffered()) // never fails: it is there
		rest = append(append(out.kept, rest...), unread[len(unread)-old.Len():]...)
		if s.keepStream(c, rest) {
			return
		}
	}
	s.disown(c)
}

// converse reads queries and has them answered.
func (s *sandbox) converse(in *bufio.Reader, out *stream) {
	buf := make([]byte, maxQuery)
	var q query
	for {
		out.conn.SetReadDeadline(time.Now().Add(idleTimeout))
		if s.ctx.Err() != nil {
			return
		}
		m := readFrame(in, buf)
		if m == nil {
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
		out.pending.Add(1)
		s.later(m, false, out)
	}
}

// readFrame reads one message into buf, or returns nil. What is not a whole
// message stays in the reader.
func readFrame(in *bufio.Reader, buf []byte) []byte {
	length, err := in.Peek(2)
	if err != nil {
		return nil
	}
	n := int(binary.BigEndian.Uint16(length))
	if n < headerLen || n > maxQuery {
		return nil
	}
	frame, err := in.Peek(2 + n)
	if err != nil {
		return nil
	}
	m := buf[:copy(buf, frame[2:])]
	_, _ = in.Discard(2 + n) // never fails: it is there
	return m
}
