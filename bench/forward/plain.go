package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plain forwards as simply as can be: one thread, one packet a system call,
// and the routes looked through one by one.
func plain(ctx context.Context, n node) error {
	runtime.LockOSThread()
	device, err := plainDevice(n)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: n.bind.Addr().As4(), Port: int(n.bind.Port())}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	f := plainForwarder{device: device, socket: socket, to: sockaddr(n.via), subnet: n.subnet}
	fds := []unix.PollFd{{Fd: int32(device), Events: unix.POLLIN}, {Fd: int32(socket), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		// The scheduler is not told of any call, as if this were C.
		unix.RawSyscall(unix.SYS_POLL, uintptr(unsafe.Pointer(&fds[0])), 2, 1000)
		for more := true; more; {
			out, in := f.outward(), f.inward()
			more = out || in
		}
	}
	return nil
}

// plainForwarder stands between one device and one socket.
type plainForwarder struct {
	device, socket int
	buffer         [65536]byte
	to             unix.RawSockaddrInet4
	subnet         netip.Prefix
}

// outward sends one packet, and tells whether there was one.
func (f *plainForwarder) outward() bool {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(f.device), uintptr(unsafe.Pointer(&f.buffer)), uintptr(len(f.buffer)))
	if errno != 0 {
		return false
	}
	if p := f.buffer[:n]; f.subnet.Contains(netip.AddrFrom4([4]byte(p[16:20]))) && lessTTL(p) {
		unix.RawSyscall6(unix.SYS_SENDTO, uintptr(f.socket), uintptr(unsafe.Pointer(&f.buffer)), n, 0,
			uintptr(unsafe.Pointer(&f.to)), unix.SizeofSockaddrInet4)
	}
	return true
}

// inward gives the host one packet, and tells whether there was one.
func (f *plainForwarder) inward() bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(f.socket), uintptr(unsafe.Pointer(&f.buffer)), uintptr(len(f.buffer)), 0, 0, 0)
	if errno != 0 {
		return false
	}
	if n >= 20 && lessTTL(f.buffer[:n]) {
		unix.RawSyscall(unix.SYS_WRITE, uintptr(f.device), uintptr(unsafe.Pointer(&f.buffer)), n)
	}
	return true
}

func lessTTL(p []byte) bool {
	if p[8]--; p[8] == 0 {
		return false
	}
	c := uint32(p[10])<<8 + uint32(p[11]) + 0x0100
	c += c >> 16
	p[10], p[11] = byte(c>>8), byte(c)
	return true
}

func sockaddr(a netip.AddrPort) unix.RawSockaddrInet4 {
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	*(*[2]byte)(unsafe.Pointer(&sa.Port)) = [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	return sa
}

// plainDevice makes a TUN device that goes with its program.
func plainDevice(n node) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open TUN device: %w", err)
	}
	ifr, err := unix.NewIfreq(n.device)
	if err != nil {
		return -1, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return -1, fmt.Errorf("make TUN device: %w", err)
	}
	for _, argv := range [][]string{
		{"ip", "address", "add", n.address.String(), "dev", n.device},
		{"ip", "link", "set", n.device, "up", "mtu", fmt.Sprint(n.mtu)},
	} {
		if err := run(argv...); err != nil {
			return -1, err
		}
	}
	return fd, nil
}
