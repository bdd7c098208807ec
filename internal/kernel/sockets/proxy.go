package sockets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// proxyStreams bounds the TCP connections that the proxy carries at once;
// more wait in the ports' backlogs.
const proxyStreams = 4096

// Proxy carries loopback ports inside the daemon: where there is no eBPF for
// it. It implements kernel.Loopback. Only what came to a loopback address is
// served, whatever address the port is held on. SCTP is passed over.
type Proxy struct {
	s       *Sockets
	streams chan struct{} // holds one for each connection
}

var _ kernel.Loopback = (*Proxy)(nil)

// Proxy returns the proxy of these sockets. There is at most one.
func (s *Sockets) Proxy() *Proxy {
	return &Proxy{s: s, streams: make(chan struct{}, proxyStreams)}
}

// Name is what info shows.
func (x *Proxy) Name() string { return "proxy" }

// Set serves and ceases to serve ports. If one of add cannot be served,
// nothing changes.
func (x *Proxy) Set(ctx context.Context, add, remove []kernel.LoopbackPort) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	want := make(map[kernel.HeldPort]netip.AddrPort, len(add))
	for _, a := range add {
		if a.Proto == string(catenet.SCTP) {
			x.s.log.Info("the proxy carries no SCTP: the port is not reached by loopback addresses", "port", a.Port)
			continue
		}
		want[keyOf(a)] = a.To
	}
	if kernel.Looks(ctx) {
		return x.look(want, remove)
	}
	if err := x.start(want); err != nil {
		return err
	}
	var errs []error
	for _, r := range remove {
		if _, again := want[keyOf(r)]; !again {
			errs = append(errs, x.stop(keyOf(r)))
		}
	}
	for key, to := range want {
		x.s.ports[key].server.to(to)
	}
	return errors.Join(errs...)
}

// look is a conflict error if a port that is wanted is not served, or one that is
// not is. (Where it leads nobody else can change.)
func (x *Proxy) look(want map[kernel.HeldPort]netip.AddrPort, remove []kernel.LoopbackPort) error {
	serves := func(key kernel.HeldPort) bool { p := x.s.ports[key]; return p != nil && p.server != nil }
	for key := range want {
		if !serves(key) {
			return catenet.Conflictf("port %s is not served", name(key))
		}
	}
	for _, r := range remove {
		if serves(keyOf(r)) {
			return catenet.Conflictf("port %s is served", name(keyOf(r)))
		}
	}
	return nil
}

// start makes a server for each port that has none; all or none.
func (x *Proxy) start(want map[kernel.HeldPort]netip.AddrPort) (err error) {
	var started []kernel.HeldPort
	defer func() {
		if err != nil {
			for _, key := range started {
				err = errors.Join(err, x.stop(key))
			}
		}
	}()
	for key, to := range want {
		p := x.s.ports[key]
		if p == nil {
			if p, err = x.s.open(key); err != nil {
				return err
			}
		}
		if p.server != nil {
			continue
		}
		if p.server, err = x.serve(p, to); err != nil {
			return errors.Join(fmt.Errorf("serve port %s: %w", name(key), err), p.release())
		}
		started = append(started, key)
	}
	return nil
}

// serve opens the port's socket to clients.
func (x *Proxy) serve(p *port, to netip.AddrPort) (server, error) {
	if p.key.Proto == string(catenet.UDP) {
		return serveDatagrams(p.fd, to, x.s.log)
	}
	if err := unix.Listen(p.fd, unix.SOMAXCONN); err != nil {
		return nil, err
	}
	// It listens, so this lets nobody else in. Accepted connections inherit
	// it: once closed they are not in the way of the next bind.
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	return serveStreams(p.fd, to, x.streams, x.s.log)
}

// stop ends a port's server and its clients. The socket stays if it is held.
func (x *Proxy) stop(key kernel.HeldPort) error {
	p := x.s.ports[key]
	if p == nil || p.server == nil {
		return nil
	}
	err := mute(p.fd)
	p.server.stop()
	p.server = nil
	return errors.Join(err, p.release())
}

// Restore makes exactly these ports served.
func (x *Proxy) Restore(ctx context.Context, ports []kernel.LoopbackPort) error {
	var remove []kernel.LoopbackPort
	x.s.mu.Lock()
	for key, p := range x.s.ports {
		if p.server != nil {
			remove = append(remove, kernel.LoopbackPort{Proto: key.Proto, IP: key.IP, Port: key.Port})
		}
	}
	x.s.mu.Unlock()
	return x.Set(ctx, ports, remove)
}

// Close ends all servers and their clients.
func (x *Proxy) Close() error { return x.Restore(context.Background(), nil) }

func keyOf(p kernel.LoopbackPort) kernel.HeldPort {
	return kernel.HeldPort{Proto: p.Proto, IP: p.IP, Port: p.Port}
}
