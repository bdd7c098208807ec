// Package tun opens the two ends of a transport in user space: TUN devices
// (linux/if_tun.h) and UDP sockets, with the kernel's offloads. It implements
// kernel.Tunnels.
//
// What is moved is moved in bulk: a device's queue gives and takes packets that
// are up to 64 KiB, several segments in one (TUNSETOFFLOAD), and so does a
// socket (UDP_SEGMENT, UDP_GRO of udp(7)), a few at a time (sendmmsg(2),
// recvmmsg(2)).
//
// System calls here never wait: they are made without telling Go's scheduler,
// which costs as much as a small packet does. Who finds nothing waits in
// ppoll(2), which the scheduler is told of. Go's own poller is no use here: it
// is woken for each packet, also while somebody is busy reading them.
package tun

import (
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/link"
)

// Tunnels implements kernel.Tunnels, for the namespace of the thread that calls
// it; host is of the same.
type Tunnels struct {
	host      *link.Host
	log       *slog.Logger
	inherited *handover.Parcel // nil: nothing

	mu   sync.Mutex     // guards what follows
	open map[string]int // descriptors, by the name under which they are handed over
}

var _ kernel.Tunnels = (*Tunnels)(nil)

// New returns Tunnels that have nothing open yet.
func New(host *link.Host, log *slog.Logger) *Tunnels {
	return &Tunnels{host: host, log: log, open: make(map[string]int)}
}

// HandOver puts all that is open into p. Packets go on until the exec; what
// comes after waits in the queues of the device and the socket.
func (t *Tunnels) HandOver(p *handover.Parcel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, fd := range t.open {
		p.PutFD(name, fd)
	}
}

// Inherit has queues be opened with what is in p, where it has them.
func (t *Tunnels) Inherit(p *handover.Parcel) { t.inherited = p }

// inherit returns the descriptor that an earlier program has handed over under
// a name, or -1.
func (t *Tunnels) inherit(name string) (int, error) {
	if t.inherited == nil {
		return -1, nil
	}
	f := t.inherited.Take(name)
	if f == nil {
		return -1, nil
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// keep and drop note what is open.
func (t *Tunnels) keep(name string, fd int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[name] = fd
}

func (t *Tunnels) drop(name string, fd int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[name] == fd {
		delete(t.open, name)
	}
	return unix.Close(fd)
}
