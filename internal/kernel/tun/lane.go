package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// lane is one queue of the device and one socket.
type lane struct {
	tunnel         *tunnel
	device, socket int // descriptors

	header  [headerLen]byte // of the packet that is written
	polled  [3]unix.PollFd
	vectors []unix.Iovec
	in, out ways
	plain   map[netip.AddrPort]time.Time // who is to get datagrams one by one, and since when
}

var _ kernel.Lane = (*lane)(nil)

// maxParts is how many pieces one system call takes (UIO_MAXIOV).
const maxParts = 1024

// openLane opens one more lane, or takes over one.
func (n *tunnel) openLane(i int) (err error) {
	l := &lane{tunnel: n, vectors: make([]unix.Iovec, 0, maxParts), plain: make(map[netip.AddrPort]time.Time)}
	l.device, err = n.t.open(n.handed("device", i), func() (int, error) { return openQueue(n.spec.Device) })
	if err != nil {
		return fmt.Errorf("open queue %d of %s: %w", i, n.spec.Device, limit.Files(err))
	}
	l.socket, err = n.t.open(n.handed("socket", i), func() (int, error) { return bindDatagram(n.spec.Bind, i > 0) })
	if err != nil {
		return errors.Join(err, n.t.drop(n.handed("device", i), l.device))
	}
	n.lanes = append(n.lanes, l)
	return setUpDatagram(l.socket)
}

// handed is the name under which a descriptor is handed over.
func (n *tunnel) handed(end string, i int) string {
	return fmt.Sprintf(handedPrefix+"%s %s %s %d", n.spec.Device, n.spec.Bind, end, i)
}

// Wait waits in ppoll(2).
func (l *lane) Wait() (packets, datagrams bool, err error) {
	l.polled = [3]unix.PollFd{
		{Fd: int32(l.device), Events: unix.POLLIN}, {Fd: int32(l.socket), Events: unix.POLLIN}, l.tunnel.bell.polled(),
	}
	if err := poll(l.polled[:]); err != nil {
		return false, false, err
	}
	if l.polled[2].Revents != 0 {
		return false, false, net.ErrClosed
	}
	return l.polled[0].Revents != 0, l.polled[1].Revents != 0, nil
}
