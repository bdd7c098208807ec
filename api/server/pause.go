package server

import (
	"context"
	"errors"
	"fmt"
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

// Front is an http.Server on a unix socket that can be paused.
type Front struct {
	http  *http.Server
	conns connections
}

// NewFront makes one of a server that does not serve yet.
func NewFront(s *http.Server) *Front {
	s.ConnState = func(c net.Conn, to http.ConnState) {
		if c, ok := c.(*conn); ok {
			c.state(to)
		}
	}
	return &Front{http: s}
}

// Serve answers on l, and on connections that another Pause has kept, until
// Shutdown or Pause, and returns nil then.
func (f *Front) Serve(l net.Listener, kept ...Kept) error {
	lasting := &lasting{l, &f.conns, kept}
	if !f.conns.serve(lasting) {
		return nil
	}
	defer f.conns.serving.Done()
	if err := f.http.Serve(lasting); !errors.Is(err, http.ErrServerClosed) && !f.conns.paused() {
		return err
	}
	return nil
}

// Pause ends serving, and leaves the sockets open for the next: the
// listener, in whose queue clients wait, and connections, which it returns.
// Requests are waited for until ctx ends, what is left then is cut off.
// (http.Server.Shutdown would drop a request that comes at that moment.)
func (f *Front) Pause(ctx context.Context) ([]Kept, error) {
	err := f.conns.pause()
	var kept []Kept
	all := f.conns.list()
	for _, c := range all {
		c.leave()
	}
	for _, c := range all {
		select {
		case <-c.over:
		case <-ctx.Done():
			err = fmt.Errorf("end requests: %w", ctx.Err())
			continue
		}
		if unread, ok := c.rest(); ok {
			kept = append(kept, Kept{c.UnixConn, unread})
		}
	}
	return kept, errors.Join(err, f.http.Close())
}

// Shutdown closes the listeners, and waits for requests until ctx ends; what
// is left then is cut off.
func (f *Front) Shutdown(ctx context.Context) error {
	err := f.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, f.http.Close())
	}
	return err
}

// connections are the open ones of a server.
type connections struct {
	serving sync.WaitGroup // who takes connections

	mu      sync.Mutex
	from    *lasting
	open    map[*conn]bool
	pausing bool // idle ones are left, not closed
}

// serve notes where connections come from, and reports whether they may still
// come.
func (cs *connections) serve(l *lasting) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.pausing {
		return false
	}
	cs.from = l
	cs.serving.Add(1)
	return true
}

// pause returns once nobody is taken any more.
func (cs *connections) pause() (err error) {
	cs.mu.Lock()
	cs.pausing = true
	from := cs.from
	cs.mu.Unlock()
	if from != nil {
		err = from.Close()
	}
	cs.serving.Wait()
	return err
}

func (cs *connections) list() (all []*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

func (cs *connections) paused() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.pausing
}

func (cs *connections) forget(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

// wrap makes a connection one of these.
func (cs *connections) wrap(u *net.UnixConn, unread []byte) *conn {
	c := &conn{UnixConn: u, of: cs, over: make(chan struct{}), idle: true, unread: unread}
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
	over    chan struct{}  // closed when it is closed or left
	reading sync.WaitGroup // a Read that is under way

	mu     sync.Mutex
	idle   bool // before a request
	begun  bool // something of the next request was read
	left   bool // to the next server
	closed bool
	unread []byte
}

// state is told by http.Server what a connection is at.
func (c *conn) state(s http.ConnState) {
	c.mu.Lock()
	c.idle = s == http.StateNew || s == http.StateIdle
	c.begun = c.begun && s != http.StateActive // the request has been read
	c.mu.Unlock()
	if s == http.StateIdle && c.of.paused() {
		c.leave()
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
		c.unread = c.unread[n:]
		c.begins(n, len(b))
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
	c.begins(n, len(b))
	return n, err
}

// begins notes whether the next request begins with n bytes that were read
// where there was room for some. During a request http.Server looks ahead by
// one byte; all else that it reads then is of that request. c.mu is held.
func (c *conn) begins(n, room int) {
	c.begun = c.begun || n > 0 && (c.idle || room == 1)
}

// Close closes the connection, unless it is left to the next server.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil
	}
	if !c.closed {
		c.closed = true
		close(c.over)
		c.of.forget(c)
	}
	return c.UnixConn.Close()
}

// leave leaves the connection to the next server if it is idle.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle && !c.begun && !c.left && !c.closed {
		c.left = true
		close(c.over)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes who reads; fails if it is closed, which does too
	}
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
