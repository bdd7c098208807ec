package tun

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// tunnel is an open device with its socket.
type tunnel struct {
	t       *Tunnels
	spec    kernel.TunnelSpec
	lanes   []*lane
	bell    bell
	usable  map[kernel.Segment]bool
	refused atomic.Uint64
	said    sync.Once // that an offload was refused

	mu    sync.Mutex // held while probe is used, or sockets are asked for what they have lost
	probe int        // a socket that is connected to whom a path's MTU is asked for; -1: closed
}

var _ kernel.Tunnel = (*tunnel)(nil)

// OpenTunnel opens a tunnel, as kernel.Tunnels says.
func (t *Tunnels) OpenTunnel(ctx context.Context, spec kernel.TunnelSpec) (_ kernel.Tunnel, err error) {
	if spec.Device == "" || len(spec.Device) >= unix.IFNAMSIZ || spec.MTU < 68 || spec.Lanes < 1 ||
		!spec.Bind.Addr().Is4() || spec.Bind.Port() == 0 {
		return nil, catenet.Invalidf("there can be no tunnel by a device %q of %d bytes and a socket at %s, with %d lanes",
			spec.Device, spec.MTU, spec.Bind, spec.Lanes)
	}
	if err := t.host.Admit(ctx, asLink(spec)); err != nil { // first: opening it would take a queue of somebody else's
		return nil, err
	}
	n := &tunnel{t: t, spec: spec, probe: -1, bell: -1, usable: make(map[kernel.Segment]bool)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.bell, err = newBell(); err != nil {
		return nil, err
	}
	if n.probe, err = openDatagram(); err != nil {
		return nil, err
	}
	for i := range spec.Lanes {
		if err := n.openLane(i); err != nil {
			return nil, err
		}
	}
	if err := t.forget(spec.Device); err != nil {
		return nil, err
	}
	return n, n.settle(ctx)
}

func (n *tunnel) Lanes() []kernel.Lane {
	all := make([]kernel.Lane, len(n.lanes))
	for i, l := range n.lanes {
		all[i] = l
	}
	return all
}

func (n *tunnel) Segments(s kernel.Segment) bool { return n.usable[s] }

func (n *tunnel) Refused() uint64 { return n.refused.Load() }

// refuse notes that the kernel refused an offload.
func (n *tunnel) refuse(to netip.AddrPort, errno unix.Errno) {
	n.refused.Add(1)
	n.said.Do(func() {
		n.t.log.Warn("the path takes no segmentation of UDP: datagrams go one by one, which costs more", "to", to, "err", errno)
	})
}

func (n *tunnel) Interrupt() { n.bell.ring() }

func (n *tunnel) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, fd := range []int{int(n.bell), n.probe} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	n.probe = -1
	for i, l := range n.lanes {
		errs = append(errs, n.t.drop(n.handed("device", i), l.device), n.t.drop(n.handed("socket", i), l.socket))
	}
	return errors.Join(errs...)
}
