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

// Transport carries packets between a device and a socket.
type Transport struct {
	device  kernel.PacketDevice
	socket  kernel.DatagramSocket
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
func New(device kernel.PacketDevice, socket kernel.DatagramSocket, peers *Table, address netip.Addr, log *slog.Logger) (*Transport, error) {
	if !address.Is4() || !isUnicast(address) {
		return nil, catenet.Invalidf("%s is no address that errors can be reported from", address)
	}
	t := &Transport{device: device, socket: socket, peers: peers, address: address, log: log, said: make(map[string]bool)}
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

// Run carries packets until ctx ends, or the device or the socket is lost,
// which is an error. It returns when nothing of it runs any more; the device
// and the socket are of no further use then, and the caller's to close.
func (t *Transport) Run(ctx context.Context) error {
	packets, datagrams := t.device.Queues(), t.socket.Queues()
	ends := make(chan error, len(packets)+len(datagrams))
	interrupt := func() {
		t.device.Interrupt()
		t.socket.Interrupt()
	}
	defer context.AfterFunc(ctx, interrupt)()
	for i, q := range packets {
		go func() { ends <- newOutbound(t, q, datagrams[i%len(datagrams)]).run() }()
	}
	for i, q := range datagrams {
		go func() { ends <- newInbound(t, q, packets[i%len(packets)]).run() }()
	}
	var errs []error
	for range cap(ends) {
		if err := <-ends; !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
			interrupt()
		}
	}
	return errors.Join(errs...)
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
