// Package sockets opens the sockets that the rooms above serve or hold: the
// host ports that are published, the resolver's pair inside a namespace, and
// a proxy for loopback addresses where eBPF cannot carry them.
//
// A held port is a bound socket that takes nothing: what is published is
// carried past it by the firewall or eBPF. The proxy listens on the very
// socket that holds the port, so both go together in any order: whoever comes
// first opens it, whoever goes last closes it.
package sockets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/holder"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// Sockets implements kernel.Sockets. Its ports are of the network namespace
// that the process runs in.
type Sockets struct {
	log       *slog.Logger
	holder    holder.Search
	inherited *handover.Parcel // nil: nothing

	mu    sync.Mutex // guards what follows, and the fields of every port
	ports map[kernel.HeldPort]*port
}

var _ kernel.Sockets = (*Sockets)(nil)

// New returns Sockets that hold nothing yet.
func New(log *slog.Logger) *Sockets {
	return &Sockets{log: log, ports: make(map[kernel.HeldPort]*port)}
}

// port is one bound socket. It is open as long as it is held or served.
type port struct {
	s      *Sockets
	key    kernel.HeldPort
	fd     int
	held   bool
	server server // the proxy's; nil if it does not serve the port
}

// server is the proxy's side of a port.
type server interface {
	to(netip.AddrPort) // changes where new clients are led
	stop()             // and waits until nothing of it runs
}

// Hold binds a port, as kernel.Sockets says. An address that the host does
// not have is an invalid error, a protocol that the kernel does not have an
// unsupported one.
func (s *Sockets) Hold(_ context.Context, key kernel.HeldPort) (kernel.Held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ports[key]
	switch {
	case p == nil:
		var err error
		if p, err = s.open(key); err != nil {
			return nil, err
		}
	case p.held:
		return nil, taken(key, "another published port")
	}
	p.held = true
	return &held{p: p}, nil
}

// open binds a port that has no socket yet. s.mu is held.
func (s *Sockets) open(key kernel.HeldPort) (*port, error) {
	fd, err := s.inherit(key)
	if err == nil && fd < 0 {
		fd, err = bind(key)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, taken(key, s.holder.Find(key, "another published port"))
	}
	if err != nil {
		return nil, refused(key, err)
	}
	if key.Port == 0 {
		if key.Port, err = boundPort(fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	p := &port{s: s, key: key, fd: fd}
	s.ports[key] = p
	return p, nil
}

// release closes the port's socket once nobody needs it. s.mu is held.
func (p *port) release() error {
	if p.held || p.server != nil {
		return nil
	}
	delete(p.s.ports, p.key)
	if err := unix.Close(p.fd); err != nil {
		return fmt.Errorf("close port %s: %w", name(p.key), err)
	}
	return nil
}

// held is the holder's side of a port.
type held struct {
	p    *port
	once sync.Once
}

func (h *held) Port() uint16 { return h.p.key.Port }

func (h *held) Close() (err error) {
	h.once.Do(func() {
		h.p.s.mu.Lock()
		defer h.p.s.mu.Unlock()
		h.p.held = false
		err = h.p.release()
	})
	return err
}

// name is how people are told of a port.
func name(key kernel.HeldPort) string {
	return fmt.Sprintf("%d/%s on %s", key.Port, key.Proto, key.IP)
}

// taken says that a port is taken, and by whom if that is known.
func taken(key kernel.HeldPort, by string) error {
	err := catenet.Conflictf("port %s is taken", name(key))
	if by == "" {
		return err.WithHint("publish on another host port, or on any: leave the host port out")
	}
	return err.WithHint("%s has it: stop that, or publish on another host port", by)
}

// refused translates why a port cannot be bound.
func refused(key kernel.HeldPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return catenet.Invalidf("port %s cannot be held: this host has no address %s", name(key), key.IP).
			WithHint("publish on an address of this host (ip address), or leave the address out")
	case errors.Is(err, unix.EINVAL):
		return catenet.Invalidf("port %s cannot be held: no port can be published on that address", name(key)).
			WithHint("publish on another address of this host, or leave the address out")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return catenet.Errorf(catenet.KindForbidden, "port %s cannot be held: %w", name(key), err).
			WithHint("catenetd needs to run as root, or with CAP_NET_BIND_SERVICE")
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ESOCKTNOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return catenet.Unsupportedf("port %s cannot be held: this kernel has no such sockets (%w)", name(key), err).
			WithHint("where it is a module of the kernel, load it: modprobe %s", key.Proto)
	}
	return fmt.Errorf("hold port %s: %w", name(key), limit.Files(err))
}
