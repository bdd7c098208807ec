package fake

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Tunnels is an in-memory twin of kernel.Tunnels, of all hosts: what one tunnel
// sends arrives at the one that is bound to its address. The zero value has
// none.
type Tunnels struct {
	mu  sync.Mutex
	all map[netip.AddrPort]*Tunnel
}

var _ kernel.Tunnels = (*Tunnels)(nil)

// OpenTunnel opens a tunnel, as kernel.Tunnels says.
func (ts *Tunnels) OpenTunnel(ctx context.Context, spec kernel.TunnelSpec) (kernel.Tunnel, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.all[spec.Bind] != nil {
		return nil, catenet.Conflictf("UDP port %d of %s is taken", spec.Bind.Port(), spec.Bind.Addr())
	}
	if ts.all == nil {
		ts.all = make(map[netip.AddrPort]*Tunnel)
	}
	t := NewTunnel(max(spec.Lanes, 1))
	t.Spec, t.closed = spec, func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.all, spec.Bind)
	}
	t.deliver = func(train kernel.Train) {
		if peer := ts.At(train.To); peer != nil {
			peer.Arrive(spec.Bind, train.Size, slices.Concat(train.Parts...))
		}
	}
	ts.all[spec.Bind] = t
	return t, ctx.Err()
}

// At returns the tunnel that is bound to an address, or nil.
func (ts *Tunnels) At(bind netip.AddrPort) *Tunnel {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.all[bind]
}

// Tunnel is an in-memory twin of kernel.Tunnel. What it is told to fail, and
// whether it remembers, is set before it is used.
type Tunnel struct {
	Spec kernel.TunnelSpec
	// MTU is that of every path; datagrams that are bigger, each with 28 bytes
	// of headers, are refused.
	MTU int
	// Send and Write, if not nil, are asked first, and may refuse.
	Send  func(kernel.Train) error
	Write func(kernel.Offload) error
	// Lacks are the ways to cut a packet that the device does not have.
	Lacks []kernel.Segment
	// Forgetful tunnels do not remember what went through them.
	Forgetful bool

	lanes   []kernel.Lane
	deliver func(kernel.Train)
	closed  func()
	mu      sync.Mutex // guards what follows, and the queues of all lanes
	some    sync.Cond  // something has come, or it is interrupted
	over    bool
	given   []Packet
	sent    []Datagram
}

// Packet is what the host has sent or was given.
type Packet struct {
	Bytes []byte
	Left  kernel.Offload
}

// Datagram is one that was sent.
type Datagram struct {
	To    netip.AddrPort
	Bytes []byte
}

var _ kernel.Tunnel = (*Tunnel)(nil)

// NewTunnel returns a tunnel that leads nowhere.
func NewTunnel(lanes int) *Tunnel {
	t := &Tunnel{MTU: 1500}
	t.some.L = &t.mu
	for range lanes {
		t.lanes = append(t.lanes, &tunnelLane{t: t})
	}
	return t
}

// Offer has the host send a packet by the first lane.
func (t *Tunnel) Offer(p Packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[0].(*tunnelLane)
	l.packets = append(l.packets, p)
	t.some.Broadcast()
}

// Arrive has a train arrive at the first lane.
func (t *Tunnel) Arrive(from netip.AddrPort, size int, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[0].(*tunnelLane)
	l.arrivals = append(l.arrivals, kernel.Arrival{From: from, Size: size, Data: data})
	t.some.Broadcast()
}

// Given returns what the host was given since it was last asked.
func (t *Tunnel) Given() (all []Packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, t.given = t.given, nil
	return all
}

// Sent returns the datagrams that were sent since it was last asked, each for
// itself.
func (t *Tunnel) Sent() (all []Datagram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, t.sent = t.sent, nil
	return all
}

func (t *Tunnel) Lanes() []kernel.Lane { return t.lanes }

func (t *Tunnel) Segments(s kernel.Segment) bool { return !slices.Contains(t.Lacks, s) }

func (t *Tunnel) PathMTU(netip.Addr) (int, error) { return t.MTU, nil }

func (t *Tunnel) Refused() uint64 { return 0 }

func (t *Tunnel) Overflown() uint64 { return 0 }

func (t *Tunnel) Interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.some.Broadcast()
}

func (t *Tunnel) Close() error {
	if t.closed != nil {
		t.closed()
	}
	return nil
}

// tunnelLane is one lane, guarded by the tunnel's mu.
type tunnelLane struct {
	t        *Tunnel
	packets  []Packet
	arrivals []kernel.Arrival
}

func (l *tunnelLane) Wait() (packets, datagrams bool, err error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	for !l.t.over && len(l.packets) == 0 && len(l.arrivals) == 0 {
		l.t.some.Wait()
	}
	if l.t.over {
		return false, false, net.ErrClosed
	}
	return len(l.packets) > 0, len(l.arrivals) > 0, nil
}

func (l *tunnelLane) Read(b []byte) ([]byte, kernel.Offload, error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if len(l.packets) == 0 {
		return nil, kernel.Offload{}, nil
	}
	p := l.packets[0]
	l.packets = slices.Delete(l.packets, 0, 1)
	n := copy(b[kernel.ReadRoom-kernel.MaxPacket:], p.Bytes)
	return b[kernel.ReadRoom-kernel.MaxPacket:][:n:n], p.Left, nil
}

func (l *tunnelLane) Write(parts [][]byte, left kernel.Offload) error {
	if l.t.Write != nil {
		if err := l.t.Write(left); err != nil {
			return err
		}
	}
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if !l.t.Forgetful {
		l.t.given = append(l.t.given, Packet{slices.Concat(parts...), left})
	}
	return nil
}

func (l *tunnelLane) Receive(trains []kernel.Arrival) (n int, err error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	for n < min(len(trains), len(l.arrivals)) {
		a := l.arrivals[n]
		trains[n].From, trains[n].Size = a.From, a.Size
		trains[n].Data = append(trains[n].Data[:0], a.Data...)
		n++
	}
	l.arrivals = slices.Delete(l.arrivals, 0, n)
	return n, nil
}

func (l *tunnelLane) Send(trains []kernel.Train) (int, error) {
	for i, train := range trains {
		if l.t.Send != nil {
			if err := l.t.Send(train); err != nil {
				return i, err
			}
		}
		if train.Size+28 > l.t.MTU {
			return i, kernel.ErrTooBig
		}
		if l.t.deliver != nil {
			l.t.deliver(train)
		}
		if !l.t.Forgetful {
			l.t.remember(train)
		}
	}
	return len(trains), nil
}

// remember notes the datagrams of a train.
func (t *Tunnel) remember(train kernel.Train) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range slices.Chunk(slices.Concat(train.Parts...), train.Size) {
		t.sent = append(t.sent, Datagram{train.To, p})
	}
}
