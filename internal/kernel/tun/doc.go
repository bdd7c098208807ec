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
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/link"
)

// handedPrefix begins the names under which descriptors are handed over.
const handedPrefix = "tunnel "

// Tunnels implements kernel.Tunnels, for the namespace of the thread that calls
// it; host is of the same.
type Tunnels struct {
	host *link.Host
	log  *slog.Logger

	mu        sync.Mutex          // guards what follows
	opened    map[string]int      // descriptors, by the name under which they are handed over
	inherited map[string]*os.File // what nobody has opened yet, likewise
}

var _ kernel.Tunnels = (*Tunnels)(nil)

// New returns Tunnels that have nothing open yet.
func New(host *link.Host, log *slog.Logger) *Tunnels {
	return &Tunnels{host: host, log: log, opened: make(map[string]int)}
}

// HandOver puts all that is open into p. Packets go on until the exec; what
// comes after waits in the queues of the device and the socket.
func (t *Tunnels) HandOver(p *handover.Parcel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, fd := range t.opened {
		p.PutFD(name, fd)
	}
	for name, f := range t.inherited {
		p.PutFD(name, int(f.Fd()))
	}
}

// Inherit has queues be opened with what is in p, where it has them, whenever that
// is: until then what comes waits in them.
func (t *Tunnels) Inherit(p *handover.Parcel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inherited = p.TakeAll(handedPrefix)
}

// open returns the descriptor that an earlier program has handed over under a
// name, or else a new one.
func (t *Tunnels) open(name string, anew func() (int, error)) (fd int, err error) {
	if f := t.take(name); f != nil {
		defer f.Close()
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		fd, err = anew()
	}
	if err != nil {
		return -1, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened[name] = fd
	return fd, nil
}

// take returns what was handed over, or nil.
func (t *Tunnels) take(name string) *os.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.inherited[name]
	delete(t.inherited, name)
	return f
}

// forget closes what was handed over of a device and is not as it is opened now: the
// kernel would go on to fill a queue that nobody reads.
func (t *Tunnels) forget(device string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for name, f := range t.inherited {
		if strings.HasPrefix(name, handedPrefix+device+" ") {
			errs = append(errs, f.Close())
			delete(t.inherited, name)
		}
	}
	return errors.Join(errs...)
}

// drop closes a descriptor.
func (t *Tunnels) drop(name string, fd int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened[name] == fd {
		delete(t.opened, name)
	}
	return unix.Close(fd)
}
