package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Datapath is what this way for packets is called.
const Datapath = "userspace"

// Transport carries packets between the device and the socket of a tunnel.
type Transport struct {
	tunnel  kernel.Tunnel
	peers   *Table
	address netip.Addr
	log     *slog.Logger
	local   atomic.Pointer[[]netip.Prefix]
	limit   limit
	tally   tally
	refused atomic.Uint64 // grouped packets that the device did not take

	mu   sync.Mutex // guards said
	said map[string]bool
}

// New returns a transport that is yet to run. address is this host's in the
// network, from which errors are reported; nothing is local yet.
func New(tunnel kernel.Tunnel, peers *Table, address netip.Addr, log *slog.Logger) (*Transport, error) {
	if !address.Is4() || !isUnicast(address) {
		return nil, catenet.Invalidf("%s is no address that errors can be reported from", address)
	}
	t := &Transport{tunnel: tunnel, peers: peers, address: address, log: log, said: make(map[string]bool)}
	t.local.Store(new([]netip.Prefix))
	return t, nil
}

// SetLocal says which subnets are this host's: what arrives for them is given
// to the host, all else is dropped.
func (t *Transport) SetLocal(subnets ...netip.Prefix) {
	all := slices.Clone(subnets)
	t.local.Store(&all)
}

// isLocal tells whether an address is in a subnet of this host.
func (t *Transport) isLocal(a netip.Addr) bool {
	for _, subnet := range *t.local.Load() {
		if subnet.Contains(a) {
			return true
		}
	}
	return false
}

// Run carries packets until ctx ends, or the device is lost, which is an error.
// It returns when nothing of it runs any more; the tunnel is of no further use
// then, and the caller's to close.
func (t *Transport) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, t.tunnel.Interrupt)()
	lanes := t.tunnel.Lanes()
	ends := make(chan error, len(lanes))
	for _, l := range lanes {
		go func() { ends <- t.serve(l) }()
	}
	var errs []error
	for range lanes {
		if err := <-ends; !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
			t.tunnel.Interrupt()
		}
	}
	return errors.Join(errs...)
}

// serve carries the packets of one lane, in both directions by turns.
func (t *Transport) serve(l kernel.Lane) error {
	out, in := newOutbound(t, l), newInbound(t, l)
	for {
		packets, datagrams, err := l.Wait()
		if err == nil && packets {
			err = out.some()
		}
		if err == nil && datagrams {
			err = in.some()
		}
		if err != nil {
			return err
		}
	}
}

// alone tells whether packets come one at a time, as requests and answers do. Then
// nobody looks for a second one, since that takes as long as another packet would,
// save now and then, to see whether it is still so. It counts those that came alone.
type alone int

// lookAgain is after how many that came alone a second one is looked for.
const lookAgain = 8

// most is how many are to be taken of any number.
func (a alone) most(any int) int {
	if a%lookAgain != 0 {
		return 1
	}
	return any
}

// came notes how many were taken; more: there may well be others.
func (a *alone) came(n int, more bool) {
	if n == 1 && !more {
		*a++
	} else {
		*a = 0
	}
}

// once says in the log what would be said for each packet otherwise.
func (t *Transport) once(what string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.said[what] {
		t.said[what] = true
		t.log.Warn(what, args...)
	}
}
