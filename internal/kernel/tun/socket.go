package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/holder"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// bufferSize is what a socket may hold of what has arrived and what is to be
// sent, in bytes: some milliseconds of a fast link.
const bufferSize = 7 << 20

func openDatagram() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", limit.Files(err))
	}
	return fd, nil
}

// bindDatagram opens a socket and binds it: beside the first one, or as the
// first one, which nobody has a right to sit beside but those of its own tunnel.
func bindDatagram(at netip.AddrPort, beside bool) (fd int, err error) {
	if fd, err = openDatagram(); err != nil {
		return -1, err
	}
	share := func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	if beside {
		err = share()
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err == nil && !beside {
		err = share()
	}
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return -1, taken(at)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return -1, catenet.Invalidf("this host has no address %s", at.Addr()).WithHint("see its addresses: ip address")
	}
	return -1, fmt.Errorf("bind %s: %w", at, err)
}

// taken says that an address is taken, and by whom if that is known.
func taken(at netip.AddrPort) error {
	by := new(holder.Search).Find(kernel.HeldPort{Proto: "udp", IP: at.Addr(), Port: at.Port()}, "another network of this daemon")
	if by == "" {
		by = "somebody"
	}
	return catenet.Conflictf("UDP port %d of %s is taken by %s", at.Port(), at.Addr(), by).
		WithHint("stop that (ss -ulnp sport = %d shows it), or choose another Backend.Port for all hosts", at.Port())
}

// setUpDatagram gives a socket its options. A kernel without UDP_GRO hands over each
// datagram alone.
func setUpDatagram(fd int) error {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	for _, o := range []struct {
		level, name, value int
	}{
		// Not fragmented, and refused if too big: who sent it is told then.
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set up socket: option %d: %w", o.name, err)
		}
	}
	return nil
}

// Overflown asks the kernel (SO_MEMINFO of socket(7), in linux/sock_diag.h).
func (n *tunnel) Overflown() (all uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.probe < 0 {
		return 0
	}
	for _, l := range n.lanes {
		var info [unix.SK_MEMINFO_VARS]uint32
		size := uint32(unsafe.Sizeof(info))
		if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(l.socket), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno == 0 {
			all += uint64(info[unix.SK_MEMINFO_DROPS])
		}
	}
	return all
}

// PathMTU asks the kernel, whose knowledge is of routes and of what routers
// have reported (IP_MTU of ip(7)).
func (n *tunnel) PathMTU(to netip.Addr) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := unix.Connect(n.probe, &unix.SockaddrInet4{Addr: to.As4(), Port: int(n.spec.Bind.Port())})
	if err != nil {
		return 0, fmt.Errorf("look for the path to %s: %w", to, err)
	}
	mtu, err := unix.GetsockoptInt(n.probe, unix.IPPROTO_IP, unix.IP_MTU)
	if err != nil {
		return 0, fmt.Errorf("ask for the MTU to %s: %w", to, err)
	}
	return mtu, nil
}
