package names

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catenet/catenet"
)

// Bounds of one sandbox.
const (
	slowPerSandbox  = 256 // queries on the slow way
	connsPerSandbox = 64  // TCP connections
)

// slowInAll bounds the slow way of all sandboxes together.
const slowInAll = 2048

// Sandbox is one whose lookups are answered.
type Sandbox struct {
	ID         string
	Networks   []string // IDs; the first that knows a name answers
	DNS        catenet.DNSConfig
	ExtraHosts []Host
	// Behind reaches who else answers lookups inside the sandbox: nil if nobody
	// does. It is asked what is not known here, in place of DNS.Servers, for
	// it knows others; and nothing of what it says is kept: its names come and
	// go unseen.
	Behind Dialer
}

// sandbox is a Sandbox being served.
type sandbox struct {
	n      *Names
	conf   Sandbox // guarded by Names.mu
	view   atomic.Pointer[view]
	udp    *net.UDPConn
	tcp    *net.TCPListener
	ctx    context.Context
	cancel context.CancelFunc
	slow   chan struct{} // a place for each query on the slow way
	counts counters
	wg     sync.WaitGroup

	mu      sync.Mutex
	conns   map[*net.TCPConn]struct{} // nil once the sandbox is stopped
	parting bool                      // it is being handed over
	rest    Handed                    // with this
}

// Serve answers what arrives on pc (a *net.UDPConn of IPv4) and ln (a
// *net.TCPListener) until Stop. It takes both over, unless it fails.
func (n *Names) Serve(conf Sandbox, pc net.PacketConn, ln net.Listener) error {
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return catenet.Invalidf("serve names: a %T is no UDP socket", pc)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return catenet.Invalidf("serve names: a %T is no TCP socket", ln)
	}
	return n.serve(conf, Handed{UDP: udp, TCP: tcp})
}

func (n *Names) serve(conf Sandbox, h Handed) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return catenet.Errorf(catenet.KindUnavailable, "serve names: the resolver is closed")
	}
	if n.sandboxes[conf.ID] != nil {
		return catenet.Conflictf("serve names: sandbox %s is served already", catenet.ShortID(conf.ID))
	}
	s := &sandbox{n: n, udp: h.UDP, tcp: h.TCP, slow: make(chan struct{}, slowPerSandbox)}
	n.setView(s, conf)
	n.sandboxes[conf.ID] = s
	s.begin(h)
	return nil
}

// begin serves the sandbox, beginning with what is left of before. Nothing of
// it runs; s.n.mu is held.
func (s *sandbox) begin(h Handed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.parting, s.rest = false, Handed{Sandbox: s.conf.ID, UDP: s.udp, TCP: s.tcp}
	// These fail where a socket is closed, which ends its reader as well.
	_ = s.udp.SetReadDeadline(time.Time{})
	_ = s.tcp.SetDeadline(time.Time{})
	s.conns = map[*net.TCPConn]struct{}{}
	for _, c := range h.Streams {
		s.conns[c.Conn] = struct{}{}
		s.wg.Go(func() { s.serveConn(c.Conn, c.Unread) })
	}
	for _, d := range h.Datagrams {
		s.later(d.Message, true, datagramClient{s, d.From})
	}
	s.wg.Go(s.serveUDP)
	s.wg.Go(s.serveTCP)
}

// Update changes what a sandbox sees and how it forwards. One that is not
// served is left alone.
func (n *Names) Update(conf Sandbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.sandboxes[conf.ID]; s != nil {
		n.setView(s, conf)
	}
}

// Stop closes a sandbox's sockets and returns when nothing of it runs any
// more. One that is not served is no error.
func (n *Names) Stop(id string) {
	n.mu.Lock()
	s := n.sandboxes[id]
	delete(n.sandboxes, id)
	if s != nil {
		n.past.add(s.counts.read()) // at once: a count never goes back
	}
	n.mu.Unlock()
	if s == nil {
		return
	}
	s.cancel()
	s.udp.Close()
	s.tcp.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
	n.mu.Lock()
	n.release(s.view.Load().set)
	n.mu.Unlock()
}

// client is who asked.
type client interface {
	send(reply []byte)
	keep(query []byte) // it is handed over, with this query
	done()             // nothing more comes
}

// later answers a message on the slow way, in a goroutine of its own. If too
// many queries are under way, it says so at once.
func (s *sandbox) later(m []byte, byUDP bool, to client) {
	if !s.enter() {
		s.counts.failed.Add(1)
		to.send(bare(m, rcodeServFail))
		to.done()
		return
	}
	asked := bytes.Clone(m)
	m = append(make([]byte, 0, len(m)+plainUDP), m...) // the reply may take its place
	s.wg.Go(func() {
		defer to.done()
		defer s.leave()
		r := s.answer(m, byUDP)
		switch {
		case s.ctx.Err() != nil:
			to.keep(asked)
		case r != nil:
			to.send(r)
		}
	})
}

func (s *sandbox) enter() bool {
	select {
	case s.slow <- struct{}{}:
	default:
		return false
	}
	select {
	case s.n.slow <- struct{}{}:
		return true
	default:
		<-s.slow
		return false
	}
}

func (s *sandbox) leave() {
	<-s.n.slow
	<-s.slow
}

// limit is the largest answer that a client takes, in bytes.
func (q *query) limit(byUDP bool) int {
	if byUDP {
		return q.size
	}
	return maxMessage
}
