package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// batch is how many trains one system call moves at most.
const batch = 32

// again is how long a path that has refused segmentation is spared of it.
const again = time.Minute

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	unix.Msghdr
	len uint32
	_   [4]byte
}

// note is a control message of two bytes, UDP_SEGMENT, or of four, UDP_GRO
// (udp(7)), with room.
type note struct {
	unix.Cmsghdr
	value [8]byte
}

// noteLen is the length of a control message with n bytes.
func noteLen(n int) int { return unix.SizeofCmsghdr + n }

// ways are the arguments of one system call that moves several trains.
type ways struct {
	messages [batch]message
	names    [batch]unix.RawSockaddrInet4
	notes    [batch]note
	vectors  [batch]unix.Iovec
}

func (l *lane) Receive(trains []kernel.Arrival) (int, error) {
	w, n := &l.in, min(len(trains), batch)
	for i := range n {
		m := &w.messages[i]
		if data := trains[i].Data[:cap(trains[i].Data)]; w.vectors[i].Base != &data[0] { // once, as a rule
			w.vectors[i] = unix.Iovec{Base: &data[0], Len: uint64(len(data))}
			m.Msghdr = unix.Msghdr{
				Name: (*byte)(unsafe.Pointer(&w.names[i])), Iov: &w.vectors[i], Iovlen: 1, Control: (*byte)(unsafe.Pointer(&w.notes[i])),
			}
		}
		m.Namelen, m.Controllen = unix.SizeofSockaddrInet4, uint64(unsafe.Sizeof(w.notes[i]))
	}
	got, errno := raw(unix.SYS_RECVMMSG, l.socket, unsafe.Pointer(&w.messages), uintptr(n), unix.MSG_DONTWAIT)
	if errno == unix.EAGAIN {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("receive: %w", errno)
	}
	for i := range got {
		w.arrived(i, &trains[i])
	}
	return got, nil
}

// arrived reads what the kernel says of message i.
func (w *ways) arrived(i int, a *kernel.Arrival) {
	m, name := &w.messages[i], &w.names[i]
	a.Data = a.Data[:m.len]
	a.Size = int(m.len)
	if c := &w.notes[i]; m.Controllen >= uint64(noteLen(4)) && c.Level == unix.IPPROTO_UDP && c.Type == unix.UDP_GRO {
		a.Size = int(*(*int32)(unsafe.Pointer(&c.value)))
	}
	port := (*[2]byte)(unsafe.Pointer(&name.Port))
	a.From = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(port[0])<<8|uint16(port[1]))
}

func (l *lane) Send(trains []kernel.Train) (sent int, err error) {
	for sent < len(trains) {
		if len(l.plain) > 0 && l.spared(trains[sent].To) {
			if err := l.oneByOne(trains[sent]); err != nil {
				return sent, err
			}
			sent++
			continue
		}
		n, errno := l.together(trains[sent:])
		if n > 0 {
			sent += n
			continue
		}
		t := trains[sent]
		switch {
		case errno == unix.EAGAIN:
			err = l.writable()
		case segmented(t) && (errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE):
			// The path takes no segmentation, or not that size: of the
			// latter each datagram tells for itself.
			if err = l.oneByOne(t); err == nil {
				l.tunnel.refuse(t.To, errno)
				l.plain[t.To] = time.Now()
				sent++
			}
		default:
			err = translate(t.To, errno)
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// writable waits until there is room for what is to be sent.
func (l *lane) writable() error {
	l.polled = [3]unix.PollFd{{Fd: int32(l.socket), Events: unix.POLLOUT}, l.tunnel.bell.polled()}
	if err := poll(l.polled[:2]); err != nil {
		return err
	}
	if l.polled[1].Revents != 0 {
		return net.ErrClosed
	}
	return nil
}

func segmented(t kernel.Train) bool {
	bytes := 0
	for _, p := range t.Parts {
		bytes += len(p)
	}
	return bytes > t.Size
}

// spared tells whether a host gets datagrams one by one for now.
func (l *lane) spared(to netip.AddrPort) bool {
	since, ok := l.plain[to]
	if ok && time.Since(since) > again {
		delete(l.plain, to)
		return false
	}
	return ok
}

// together sends as many trains as one system call takes.
func (l *lane) together(trains []kernel.Train) (int, unix.Errno) {
	l.vectors = l.vectors[:0]
	w, n := &l.out, 0
	for n < min(len(trains), batch) && len(l.vectors)+len(trains[n].Parts) <= cap(l.vectors) {
		first := len(l.vectors)
		l.vectors = gather(l.vectors, trains[n].Parts)
		w.departs(n, trains[n].To, l.vectors[first:])
		if segmented(trains[n]) {
			w.segment(n, trains[n].Size)
		}
		n++
	}
	if n == 1 { // the simpler call is the quicker one
		if errno := l.first(); errno != 0 {
			return 0, errno
		}
		return 1, 0
	}
	return raw(unix.SYS_SENDMMSG, l.socket, unsafe.Pointer(&w.messages), uintptr(n), unix.MSG_DONTWAIT)
}

// first sends the first message alone.
func (l *lane) first() unix.Errno {
	_, errno := raw(unix.SYS_SENDMSG, l.socket, unsafe.Pointer(&l.out.messages[0].Msghdr), unix.MSG_DONTWAIT, 0)
	return errno
}

// departs makes message i a train's.
func (w *ways) departs(i int, to netip.AddrPort, v []unix.Iovec) {
	port := to.Port()
	w.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	*(*[2]byte)(unsafe.Pointer(&w.names[i].Port)) = [2]byte{byte(port >> 8), byte(port)}
	w.messages[i].Msghdr = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&w.names[i])), Namelen: unix.SizeofSockaddrInet4,
		Iov: &v[0], Iovlen: uint64(len(v)),
	}
}

// segment has the kernel cut message i.
func (w *ways) segment(i, size int) {
	c := &w.notes[i]
	c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	c.SetLen(noteLen(2))
	*(*uint16)(unsafe.Pointer(&c.value)) = uint16(size)
	w.messages[i].Control = (*byte)(unsafe.Pointer(c))
	w.messages[i].SetControllen(unix.CmsgSpace(2))
}

// oneByOne sends each datagram of a train for itself. The first one that is
// refused keeps the rest.
func (l *lane) oneByOne(t kernel.Train) error {
	l.vectors = gather(l.vectors[:0], t.Parts)
	rest := l.vectors
	for len(rest) > 0 {
		n, size := 0, 0
		for n < len(rest) && size < t.Size {
			size += int(rest[n].Len)
			n++
		}
		l.out.departs(0, t.To, rest[:n])
		for {
			errno := l.first()
			if errno == 0 {
				break
			}
			if errno != unix.EAGAIN {
				return translate(t.To, errno)
			}
			if err := l.writable(); err != nil {
				return err
			}
		}
		rest = rest[n:]
	}
	return nil
}

// translate says why a datagram was not sent.
func translate(to netip.AddrPort, errno unix.Errno) error {
	switch {
	case errors.Is(errno, unix.EMSGSIZE):
		return fmt.Errorf("send to %s: %w", to, kernel.ErrTooBig)
	case errors.Is(errno, unix.ENETUNREACH), errors.Is(errno, unix.EHOSTUNREACH), errors.Is(errno, unix.ENETDOWN), errors.Is(errno, unix.EHOSTDOWN):
		return fmt.Errorf("send to %s: %w (%w)", to, kernel.ErrUnreachable, errno)
	}
	return fmt.Errorf("send to %s: %w", to, errno)
}
