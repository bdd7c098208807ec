package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Kept is a connection on which a client may send its next request. Unread is
// the begin of one.
type Kept struct {
	Conn   *net.UnixConn
	Unread []byte
}

// Pause is Shutdown, save that the sockets stay open for the next server: the
// listener, in whose queue clients wait, and connections on which nothing is
// under way, which it returns. Closed, they would lose a request that is sent
// just then.
func (s *Server) Pause(ctx context.Context) ([]Kept, error) {
	for _, c := range s.conns.pause() {
		c.leave()
	}
	err := s.Shutdown(ctx)
	var kept []Kept
	for _, c := range s.conns.list() {
		if unread, ok := c.rest(); ok {
			kept = append(kept, Kept{c.UnixConn, unread})
		}
	}
	return kept, err
}

// connections are the open ones of a server.
type connections struct {
	mu      sync.Mutex
	open    map[*conn]bool
	pausing bool // idle ones are left, not closed
}

func (cs *connections) list() (all []*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

func (cs *connections) pause() []*conn {
	cs.mu.Lock()
	cs.pausing = true
	cs.mu.Unlock()
	return cs.list()
}

func (cs *connections) paused() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.pausing
}

// wrap makes a connection one of these.
func (cs *connections) wrap(u *net.UnixConn, unread []byte) *conn {
	c := &conn{UnixConn: u, of: cs, idle: true, unread: unread}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.open == nil {
		cs.open = make(map[*conn]bool)
	}
	cs.open[c] = true
	return c
}

// lasting is a listener that a pause leaves open: it only takes nobody any
// more.
type lasting struct {
	net.Listener
	of   *connections
	kept []Kept // come before any other
}

// Accept returns the next connection.
func (l *lasting) Accept() (net.Conn, error) {
	if len(l.kept) > 0 {
		k := l.kept[0]
		l.kept = l.kept[1:]
		return l.of.wrap(k.Conn, k.Unread), k.Conn.SetDeadline(time.Time{})
	}
	c, err := l.Listener.Accept()
	if u, ok := c.(*net.UnixConn); ok && err == nil {
		return l.of.wrap(u, nil), nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && l.of.paused() {
		err = net.ErrClosed
	}
	return c, err
}

// Close closes the listener, unless this is a pause.
func (l *lasting) Close() error {
	if d, ok := l.Listener.(interface{ SetDeadline(t time.Time) error }); ok && l.of.paused() {
		return d.SetDeadline(time.Unix(1, 0))
	}
	return l.Listener.Close()
}

// conn is a connection that a pause leaves open where it is idle.
type conn struct {
	*net.UnixConn
	of      *connections
	reading sync.WaitGroup // a Read that is under way

	mu     sync.Mutex
	idle   bool // before a request, and nothing of that was read
	left   bool // to the next server
	unread []byte
}

// state is told by http.Server what a connection is at.
func (c *conn) state(s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == http.StateIdle || s == http.StateActive {
		c.idle = s == http.StateIdle
	}
}

// Read reads what was left unread first.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return 0, io.EOF // not another error, which would be answered
	}
	if n := copy(b, c.unread); n > 0 {
		c.unread, c.idle = c.unread[n:], false
		c.mu.Unlock()
		return n, nil
	}
	c.reading.Add(1)
	defer c.reading.Done()
	c.mu.Unlock()
	n, err := c.UnixConn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		c.unread = append(c.unread, b[:n]...)
		return 0, io.EOF
	}
	c.idle = c.idle && n == 0
	return n, err
}

// Close closes the connection, unless it is left to the next server.
func (c *conn) Close() error {
	if c.of.paused() && c.leave() {
		return nil
	}
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.UnixConn.Close()
}

// leave leaves an idle connection to the next server, and reports whether it
// is left.
func (c *conn) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = c.left || c.idle
	if c.left {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes who reads; fails if it is closed, which does too
	}
	return c.left
}

// rest returns what was read of a connection that is left, and by nobody
// taken.
func (c *conn) rest() (unread []byte, left bool) {
	c.mu.Lock()
	left = c.left
	c.mu.Unlock()
	if !left {
		return nil, false
	}
	c.reading.Wait()
	return c.unread, true
}
