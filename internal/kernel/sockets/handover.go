package sockets

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/handover"
)

// HandOver puts the sockets of all ports into p. Connections that the proxy
// carries are not among them.
func (s *Sockets) HandOver(p *handover.Parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, port := range s.ports {
		p.PutFD(handedName(key), port.fd)
	}
}

// Inherit has ports be opened with the sockets in p, where it has them.
func (s *Sockets) Inherit(p *handover.Parcel) { s.inherited = p }

func handedName(key kernel.HeldPort) string {
	return fmt.Sprintf("port %s %s %d", key.Proto, key.IP, key.Port)
}

// inherit returns the port's socket if an earlier program has handed it over,
// else -1. Whatever the proxy did with it there, it collects nothing.
func (s *Sockets) inherit(key kernel.HeldPort) (int, error) {
	if s.inherited == nil || key.Port == 0 {
		return -1, nil
	}
	f := s.inherited.Take(handedName(key))
	if f == nil {
		return -1, nil
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate port %s: %w", name(key), err)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && (listens != 0 || key.Proto == "udp") {
		err = mute(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("mute port %s: %w", name(key), err)
	}
	return fd, nil
}
