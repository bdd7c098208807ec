package tun

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bell wakes all who wait with it, once and for all (eventfd(2)).
type bell int

func newBell() (bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("make eventfd: %w", err)
	}
	return bell(fd), nil
}

func (b bell) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(int(b), one[:]) // it is rung too rarely to overflow
}

// polled is what tells that it was rung.
func (b bell) polled() unix.PollFd { return unix.PollFd{Fd: int32(b), Events: unix.POLLIN} }

// poll waits until there is one of the events.
func poll(fds []unix.PollFd) error {
	for {
		switch _, err := unix.Ppoll(fds, nil, nil); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("wait: %w", err)
		}
	}
}

// raw is a system call that does not wait; the scheduler is not told.
func raw(trap uintptr, fd int, p unsafe.Pointer, n, flags uintptr) (int, unix.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(p), n, flags, 0, 0)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

// gather appends the parts to vectors of iovec(3).
func gather(v []unix.Iovec, parts [][]byte) []unix.Iovec {
	for _, p := range parts {
		if len(p) > 0 {
			v = append(v, unix.Iovec{Base: &p[0], Len: uint64(len(p))})
		}
	}
	return v
}
