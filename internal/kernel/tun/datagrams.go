package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
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

// datagrams is one queue of a socket.
type datagrams struct {
	s  *socket
	fd int

	in ways // of who receives

	mu      sync.Mutex // held by who sends
	out     ways
	vectors []unix.Iovec
	plain   map[netip.AddrPort]time.Time // who is to get datagrams one by one, and since when
}

var _ kernel.DatagramQueue = (*datagrams)(nil)

// ways are the arguments of one system call that moves several trains.
type ways struct {
	messages [batch]message
	names    [batch]unix.RawSockaddrInet4
	notes    [batch]note
	vectors  [batch]unix.Iovec
}

func newDatagrams(s *socket, fd int) *datagrams {
	return &datagrams{s: s, fd: fd, vectors: make([]unix.Iovec, 0, maxParts), plain: make(map[netip.AddrPort]time.Time)}
}

// setUp gives the socket its options. A kernel without UDP_GRO hands over each
// datagram alone.
func (q *datagrams) setUp() error {
	_ = unix.SetsockoptInt(q.fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	for _, o := range []struct {
		level, name, value int
	}{
		// Not fragmented, and refused if too big: who sent it is told then.
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize},
	} {
		if err := unix.SetsockoptInt(q.fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set up socket: option %d: %w", o.name, err)
		}
	}
	return nil
}

func (q *datagrams) Receive(trains []kernel.Arrival) (int, error) {
	w, n := &q.in, min(len(trains), batch)
	for i := range n {
		data := trains[i].Data[:cap(trains[i].Data)]
		w.vectors[i] = unix.Iovec{Base: &data[0], Len: uint64(len(data))}
		w.messages[i].Msghdr = unix.Msghdr{
			Name: (*byte)(unsafe.Pointer(&w.names[i])), Namelen: unix.SizeofSockaddrInet4,
			Iov: &w.vectors[i], Iovlen: 1,
			Control: (*byte)(unsafe.Pointer(&w.notes[i])), Controllen: uint64(unsafe.Sizeof(w.notes[i])),
		}
	}
	for {
		got, errno := raw(unix.SYS_RECVMMSG, q.fd, unsafe.Pointer(&w.messages), uintptr(n), unix.MSG_DONTWAIT)
		switch {
		case errno == 0:
			for i := range got {
				w.arrived(i, &trains[i])
			}
			return got, nil
		case errno != unix.EAGAIN && errno != unix.EWOULDBLOCK:
			return 0, fmt.Errorf("receive: %w", errno)
		}
		if err := q.s.bell.wait(q.fd, unix.POLLIN); err != nil {
			return 0, err
		}
	}
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

func (q *datagrams) Send(trains []kernel.Train) (sent int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for sent < len(trains) {
		if len(q.plain) > 0 && q.spared(trains[sent].To) {
			if err := q.oneByOne(trains[sent]); err != nil {
				return sent, err
			}
			sent++
			continue
		}
		n, errno := q.together(trains[sent:])
		if n > 0 {
			sent += n
			continue
		}
		t := trains[sent]
		switch {
		case errno == unix.EAGAIN:
			err = q.s.bell.wait(q.fd, unix.POLLOUT)
		case segmented(t) && (errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE):
			// The path takes no segmentation, or not that size: of the
			// latter each datagram tells for itself.
			if err = q.oneByOne(t); err == nil {
				q.s.refuse(t.To, errno)
				q.plain[t.To] = time.Now()
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

func segmented(t kernel.Train) bool {
	bytes := 0
	for _, p := range t.Parts {
		bytes += len(p)
	}
	return bytes > t.Size
}

// spared tells whether a host gets datagrams one by one for now.
func (q *datagrams) spared(to netip.AddrPort) bool {
	since, ok := q.plain[to]
	if ok && time.Since(since) > again {
		delete(q.plain, to)
		return false
	}
	return ok
}

// together sends as many trains as one system call takes.
func (q *datagrams) together(trains []kernel.Train) (int, unix.Errno) {
	q.vectors = q.vectors[:0]
	w, n := &q.out, 0
	for n < min(len(trains), batch) && len(q.vectors)+len(trains[n].Parts) <= cap(q.vectors) {
		first := len(q.vectors)
		q.vectors = gather(q.vectors, trains[n].Parts)
		w.departs(n, trains[n].To, q.vectors[first:])
		if segmented(trains[n]) {
			w.segment(n, trains[n].Size)
		}
		n++
	}
	return raw(unix.SYS_SENDMMSG, q.fd, unsafe.Pointer(&w.messages), uintptr(n), unix.MSG_DONTWAIT)
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
func (q *datagrams) oneByOne(t kernel.Train) error {
	q.vectors = gather(q.vectors[:0], t.Parts)
	rest := q.vectors
	for len(rest) > 0 {
		n, size := 0, 0
		for n < len(rest) && size < t.Size {
			size += int(rest[n].Len)
			n++
		}
		q.out.departs(0, t.To, rest[:n])
		for {
			_, errno := raw(unix.SYS_SENDMSG, q.fd, unsafe.Pointer(&q.out.messages[0].Msghdr), unix.MSG_DONTWAIT, 0)
			if errno == 0 {
				break
			}
			if errno != unix.EAGAIN {
				return translate(t.To, errno)
			}
			if err := q.s.bell.wait(q.fd, unix.POLLOUT); err != nil {
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
