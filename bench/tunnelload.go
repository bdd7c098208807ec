package main

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pour sends more small datagrams than get through, and returns how many did a
// second. Both ends move many by one system call, made as plainly as can be:
// what is measured is the way between them.
func (p *tunnelPair) pour() (float64, error) {
	near, far, err := p.sockets()
	if err != nil {
		return 0, err
	}
	defer near.Close()
	defer far.Close()
	to, err := near.SyscallConn()
	if err != nil {
		return 0, err
	}
	from, err := far.SyscallConn()
	if err != nil {
		return 0, err
	}
	// It has room for what comes at once, and is not what is measured.
	if cerr := from.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) }); cerr != nil || err != nil {
		return 0, errors.Join(cerr, err)
	}
	type count struct {
		n   int
		err error
	}
	arrived := make(chan count, 1)
	end := time.Now().Add(tunnelFor)
	if err := far.SetReadDeadline(end); err != nil {
		return 0, err
	}
	go func() {
		n, in := 0, newMessages(2048)
		err := from.Read(func(fd uintptr) bool {
			for {
				got, errno := in.move(unix.SYS_RECVMMSG, fd)
				if errno != 0 {
					return errno != unix.EAGAIN
				}
				n += got
			}
		})
		arrived <- count{n, err}
	}()
	out := newMessages(smallBytes)
	err = to.Control(func(fd uintptr) {
		for time.Now().Before(end) {
			out.move(unix.SYS_SENDMMSG, fd)
		}
	})
	got := <-arrived
	if errors.Is(got.err, os.ErrDeadlineExceeded) {
		got.err = nil
	}
	return float64(got.n) / tunnelFor.Seconds(), errors.Join(err, got.err)
}

// messages are what one system call moves.
type messages struct {
	all [pourAtOnce]struct {
		unix.Msghdr
		n uint32
		_ uint32
	}
	vectors [pourAtOnce]unix.Iovec
}

func newMessages(size int) *messages {
	m := new(messages)
	for i := range m.all {
		m.vectors[i] = unix.Iovec{Base: &make([]byte, size)[0], Len: uint64(size)}
		m.all[i].Iov, m.all[i].Iovlen = &m.vectors[i], 1
	}
	return m
}

// move sends or receives without waiting, and returns how many.
func (m *messages) move(call uintptr, fd uintptr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&m.all)), pourAtOnce, unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// talk sends a small request again and again, each when the one before was
// answered, and returns how long each took, in microseconds.
func (p *tunnelPair) talk() (float64, error) {
	near, far, err := p.sockets()
	if err != nil {
		return 0, err
	}
	defer near.Close()
	go func() { // until far is closed
		b := make([]byte, 2048)
		for {
			n, from, err := far.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if _, err := far.WriteToUDPAddrPort(b[:n], from); err != nil {
				return
			}
		}
	}()
	defer far.Close()
	b, n := make([]byte, smallBytes), 0
	start := time.Now()
	for time.Since(start) < tunnelFor {
		if _, err := near.Write(b); err != nil {
			return 0, err
		}
		if err := near.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return 0, err
		}
		if _, err := near.Read(b); err != nil {
			return 0, err
		}
		n++
	}
	return float64(time.Since(start).Microseconds()) / float64(n), nil
}
