package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
)

// bind opens a socket bound to the port, for itself alone: without
// SO_REUSEADDR and SO_REUSEPORT nothing else can be bound to it.
//
// Closed connections of whoever had the port before (TIME_WAIT, a minute
// long) stand in the way of such a bind though nobody has it any more. For
// them a second attempt shares the address and listens at once: where
// somebody listens, or is bound as we are, that fails too, and once it has
// succeeded nobody else can listen.
func bind(key kernel.HeldPort) (int, error) {
	if key.Port == 0 || key.Proto != string(catenet.TCP) {
		return bindAs(key, false)
	}
	fd, err := bindAs(key, false)
	if errors.Is(err, unix.EADDRINUSE) {
		return bindAs(key, true)
	}
	return fd, err
}

// bindAs opens a socket that collects nothing, bound to the port; share lets
// it stand beside closed connections, and listens.
func bindAs(key kernel.HeldPort, share bool) (fd int, err error) {
	return bindTo(key, share, key.Proto == string(catenet.UDP) || share)
}

func bindTo(key kernel.HeldPort, share, muted bool) (fd int, err error) {
	family, typ, proto := unix.AF_INET, unix.SOCK_STREAM, int(catenet.Proto(key.Proto).Number())
	if key.IP.Is6() {
		family = unix.AF_INET6
	}
	switch catenet.Proto(key.Proto) {
	case catenet.TCP, catenet.SCTP:
	case catenet.UDP:
		typ = unix.SOCK_DGRAM
	default:
		return -1, unix.EPROTONOSUPPORT
	}
	fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return -1, err
		}
	}
	if muted {
		if err := mute(fd); err != nil {
			return -1, err
		}
	}
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return -1, err
		}
	}
	failpoint.Before("sockets.bind")
	err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(key.IP, key.Port)))
	failpoint.After("sockets.bind")
	if err != nil {
		return -1, err
	}
	if share {
		if err := unix.Listen(fd, 0); err != nil {
			return -1, err
		}
	}
	return fd, nil
}

// mute has the socket drop whatever arrives, connections too, before it is
// queued: a held port collects nothing.
func mute(fd int) error {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
}

// unmute takes back mute. A socket that is not muted stays so.
func unmute(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func boundPort(fd int) (uint16, error) {
	a, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("read socket address: %w", err)
	}
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, fmt.Errorf("read socket address: %T", a)
}
