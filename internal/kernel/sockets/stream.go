package sockets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout is how long a container may take to answer a SYN.
const dialTimeout = 10 * time.Second

// streamServer carries the TCP connections of one port.
type streamServer struct {
	l      net.Listener
	target atomic.Pointer[netip.AddrPort]
	slots  chan struct{} // shared by all servers
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// serveStreams accepts connections of a listening socket until it is stopped.
func serveStreams(fd int, to netip.AddrPort, slots chan struct{}, log *slog.Logger) (*streamServer, error) {
	f, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if err := unmute(fd); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &streamServer{l: l, slots: slots, log: log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.to(to)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *streamServer) to(target netip.AddrPort) { s.target.Store(&target) }

func (s *streamServer) stop() {
	s.cancel()
	s.l.Close() // wakes accept; there is nothing to flush
	s.wg.Wait()
}

func (s *streamServer) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: it passes.
			s.log.Error("accept connection", "at", s.l.Addr(), "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			conn.Close()
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			s.carry(conn.(*net.TCPConn))
		})
	}
}

// carry joins one client with the container until both sides have ended. A
// client whose connection cannot be carried sees a reset.
func (s *streamServer) carry(client *net.TCPConn) {
	if !client.LocalAddr().(*net.TCPAddr).IP.IsLoopback() {
		abort(client)
		return
	}
	to := *s.target.Load()
	dialer := net.Dialer{Timeout: dialTimeout}
	backend, err := dialer.DialContext(s.ctx, "tcp", to.String())
	if err != nil {
		s.log.Debug("reach container", "at", to, "err", err)
		abort(client)
		return
	}
	join(s.ctx, client, backend.(*net.TCPConn))
}

// join copies both ways. The end of one direction is passed on as such and
// leaves the other; an error, or the end of ctx, ends both.
func join(ctx context.Context, a, b *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { abort(a, b) })
	defer stop()
	var wg sync.WaitGroup
	oneWay := func(dst, src *net.TCPConn) {
		if _, err := io.Copy(dst, src); err != nil { // splice(2)
			abort(a, b)
			return
		}
		if err := dst.CloseWrite(); err != nil {
			abort(a, b)
		}
	}
	wg.Go(func() { oneWay(a, b) })
	wg.Go(func() { oneWay(b, a) })
	wg.Wait()
	a.Close()
	b.Close()
}

// abort resets connections. One that is closed already has no more to say.
func abort(conns ...*net.TCPConn) {
	for _, c := range conns {
		if c.SetLinger(0) == nil {
			c.Close()
		}
	}
}

// duplicate gives a descriptor a second life as a file, which the net package
// takes another duplicate of.
func duplicate(fd int) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate socket: %w", err)
	}
	return os.NewFile(uintptr(n), "port"), nil
}
