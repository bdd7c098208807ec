package sockets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// flowIdle is how long a client of a UDP port is remembered after the
	// last datagram, either way: as long as conntrack does for a flow with
	// answers.
	flowIdle = 2 * time.Minute
	// maxFlows bounds the clients of one UDP port; datagrams of more are
	// dropped until some have gone.
	maxFlows = 1024
	// maxDatagram is the largest payload of UDP, in bytes.
	maxDatagram = 65535
)

// datagrams lends buffers to those who have a datagram to read, so that
// waiting costs no memory.
var datagrams = sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }}

// datagramServer carries the UDP flows of one port.
type datagramServer struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	target atomic.Pointer[netip.AddrPort]
	idle   time.Duration
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards flows
	flows map[flowKey]*flow
}

// flowKey tells flows apart.
type flowKey struct {
	client netip.AddrPort
	local  netip.Addr // the address of ours that the client speaks to
	target netip.AddrPort
}

// flow is one client's way to the container.
type flow struct {
	conn *net.UDPConn
	from []byte // control message that makes answers come from flowKey.local
	born time.Time
	last atomic.Int64 // when the last datagram came, nanoseconds after born
}

// serveDatagrams carries what arrives at a bound socket until it is stopped.
func serveDatagrams(fd int, to netip.AddrPort, log *slog.Logger) (*datagramServer, error) {
	level, opt := unix.IPPROTO_IP, unix.IP_PKTINFO
	if to.Addr().Is6() {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
		return nil, fmt.Errorf("ask for destinations: %w", err)
	}
	f, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	s := &datagramServer{conn: pc.(*net.UDPConn), idle: flowIdle, log: log, flows: make(map[flowKey]*flow)}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	if err := unmute(fd); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.to(to)
	s.wg.Go(s.receive)
	return s, nil
}

func (s *datagramServer) to(target netip.AddrPort) { s.target.Store(&target) }

func (s *datagramServer) stop() {
	s.cancel()
	s.conn.Close() // wakes receive; there is nothing to flush
	s.mu.Lock()
	for _, f := range s.flows {
		f.conn.Close() // wakes answer
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// receive leads each datagram of a client to its flow.
func (s *datagramServer) receive() {
	for {
		err := s.raw.Read(func(fd uintptr) bool {
			buf := datagrams.Get().(*[]byte)
			defer datagrams.Put(buf)
			var oob [128]byte
			n, oobn, _, from, err := unix.Recvmsg(int(fd), *buf, oob[:], 0)
			if err == nil {
				s.forward((*buf)[:n], oob[:oobn], from)
			}
			return err != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
	}
}

// forward sends one datagram on. What did not come to a loopback address is
// none of ours.
func (s *datagramServer) forward(b, oob []byte, from unix.Sockaddr) {
	local, ok := destination(oob)
	client, ok2 := addrPort(from)
	if !ok || !ok2 || !local.IsLoopback() {
		return
	}
	f := s.flow(flowKey{client, local, *s.target.Load()}, oob)
	if f == nil {
		return
	}
	f.last.Store(int64(time.Since(f.born)))
	if _, err := f.conn.Write(b); err != nil {
		s.log.Debug("send to container", "at", f.conn.RemoteAddr(), "err", err)
	}
}

// flow finds a client's flow or begins it; nil if there can be no more.
func (s *datagramServer) flow(key flowKey, oob []byte) *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flows[key]; f != nil {
		return f
	}
	if len(s.flows) >= maxFlows || s.ctx.Err() != nil {
		return nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(key.target))
	if err != nil {
		s.log.Error("reach container", "at", key.target, "err", err)
		return nil
	}
	f := &flow{conn: conn, from: append([]byte(nil), oob...), born: time.Now()}
	s.flows[key] = f
	s.wg.Go(func() {
		s.answer(key, f)
		conn.Close()
		s.mu.Lock()
		delete(s.flows, key)
		s.mu.Unlock()
	})
	return f
}

// answer leads the container's datagrams back until the flow is idle.
func (s *datagramServer) answer(key flowKey, f *flow) {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		rest := s.idle - time.Since(f.born) + time.Duration(f.last.Load())
		if rest <= 0 || f.conn.SetReadDeadline(time.Now().Add(rest)) != nil {
			return
		}
		err := raw.Read(func(fd uintptr) bool {
			buf := datagrams.Get().(*[]byte)
			defer datagrams.Put(buf)
			n, err := unix.Read(int(fd), *buf)
			if err == unix.EAGAIN {
				return false
			}
			if err == nil { // else the container refused an earlier one
				f.last.Store(int64(time.Since(f.born)))
				if _, _, err := s.conn.WriteMsgUDPAddrPort((*buf)[:n], f.from, key.client); err != nil {
					s.log.Debug("answer client", "at", key.client, "err", err)
				}
			}
			return true
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed
		}
	}
}

// destination reads from a control message what address a datagram came to.
func destination(oob []byte) (netip.Addr, bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12:
			// struct in_pktinfo: index, local address, destination (ip(7)).
			return netip.AddrFrom4([4]byte(m.Data[8:12])), true
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			return netip.AddrFrom16([16]byte(m.Data[:16])), true
		}
	}
	return netip.Addr{}, false
}

func addrPort(a unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}
