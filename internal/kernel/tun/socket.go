package tun

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// bufferSize is what a socket may hold of what has arrived and what is to be
// sent, in bytes: some milliseconds of a fast link.
const bufferSize = 7 << 20

// socket is one address's sockets.
type socket struct {
	t       *Tunnels
	bind    netip.AddrPort
	queues  []*datagrams
	bell    bell
	refused atomic.Uint64
	said    sync.Once // that an offload was refused

	mu    sync.Mutex // held while probe is used
	probe int        // a socket that is connected to whom a path's MTU is asked for
}

var _ kernel.DatagramSocket = (*socket)(nil)

// OpenSocket binds a socket, as kernel.Tunnels says.
func (t *Tunnels) OpenSocket(ctx context.Context, spec kernel.TunnelSocket) (_ kernel.DatagramSocket, err error) {
	if !spec.Bind.Addr().Is4() || spec.Bind.Port() == 0 || spec.Queues < 1 {
		return nil, catenet.Invalidf("no socket can be at %s with %d queues", spec.Bind, spec.Queues)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &socket{t: t, bind: spec.Bind, probe: -1}
	if s.bell, err = newBell(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for i := range spec.Queues {
		fd, err := t.inherit(s.handed(i))
		if err == nil && fd < 0 {
			fd, err = bindDatagram(spec.Bind, i > 0)
		}
		if err != nil {
			return nil, err
		}
		t.keep(s.handed(i), fd)
		s.queues = append(s.queues, newDatagrams(s, fd))
		if err := s.queues[i].setUp(); err != nil {
			return nil, err
		}
	}
	s.probe, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", limit.Files(err))
	}
	return s, nil
}

func (s *socket) handed(i int) string { return fmt.Sprintf("tunnel %s %d", s.bind, i) }

// bindDatagram opens a socket and binds it: beside the first one, or as the
// first one, which nobody has a right to sit beside.
func bindDatagram(at netip.AddrPort, beside bool) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", limit.Files(err))
	}
	share := func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	if beside {
		err = share()
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err == nil && !beside {
		err = share()
	}
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	switch err {
	case unix.EADDRINUSE:
		return -1, catenet.Conflictf("UDP port %d of %s is taken", at.Port(), at.Addr()).
			WithHint("see who has it: ss -ulnp sport = %d; where it is flanneld, stop that", at.Port())
	case unix.EADDRNOTAVAIL:
		return -1, catenet.Invalidf("this host has no address %s", at.Addr()).WithHint("see its addresses: ip address")
	}
	return -1, fmt.Errorf("bind %s: %w", at, err)
}

// PathMTU asks the kernel, whose knowledge is of routes and of what routers
// have reported (IP_MTU of ip(7)).
func (s *socket) PathMTU(to netip.Addr) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := unix.Connect(s.probe, &unix.SockaddrInet4{Addr: to.As4(), Port: int(s.bind.Port())})
	if err != nil {
		return 0, fmt.Errorf("look for the path to %s: %w", to, err)
	}
	mtu, err := unix.GetsockoptInt(s.probe, unix.IPPROTO_IP, unix.IP_MTU)
	if err != nil {
		return 0, fmt.Errorf("ask for the MTU to %s: %w", to, err)
	}
	return mtu, nil
}

// refuse notes that the kernel refused an offload.
func (s *socket) refuse(to netip.AddrPort, errno unix.Errno) {
	s.refused.Add(1)
	s.said.Do(func() {
		s.t.log.Warn("the path takes no segmentation of UDP: datagrams go one by one, which costs more", "to", to, "err", errno)
	})
}

func (s *socket) Refused() uint64 { return s.refused.Load() }

func (s *socket) Queues() []kernel.DatagramQueue {
	all := make([]kernel.DatagramQueue, len(s.queues))
	for i, q := range s.queues {
		all[i] = q
	}
	return all
}

func (s *socket) Interrupt() { s.bell.ring() }

func (s *socket) Close() error {
	errs := []error{unix.Close(int(s.bell))}
	if s.probe >= 0 {
		errs = append(errs, unix.Close(s.probe))
	}
	for i, q := range s.queues {
		errs = append(errs, s.t.drop(s.handed(i), q.fd))
	}
	return errors.Join(errs...)
}
