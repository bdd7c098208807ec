package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// message is one netlink message (netlink(7)).
type message struct {
	typ, flags uint16
	seq, pid   uint32
	data       []byte
}

// headerLen is the size of struct nlmsghdr: length, type, flags, sequence
// number and port.
const headerLen = 16

// Flags of requests; the same bits mean other things in other requests.
const (
	flagRequest = unix.NLM_F_REQUEST
	flagAck     = unix.NLM_F_ACK
	flagDump    = unix.NLM_F_DUMP
	flagCreate  = unix.NLM_F_CREATE
	flagAppend  = unix.NLM_F_APPEND
)

// failure is the kernel's answer that a message failed.
type failure struct {
	seq    uint32
	errno  unix.Errno
	offset uint32 // of the attribute that is to blame, from the message's begin; 0: none
	text   string // what the kernel says about it, seldom anything
}

// socket is a netlink socket of nf_tables, read and written by plain system
// calls. (mdlayher/netlink starts a goroutine for each, which on a thread
// that is locked, as all are that enter a namespace, costs two switches of
// threads: 0.1 ms an exchange where the kernel needs 0.01.)
type socket struct {
	f    *os.File
	port uint32 // who we are to the kernel, and to those who listen
	seq  uint32
	buf  []byte
}

// bufLen holds any one datagram: the kernel makes dumps of up to 32 KiB.
const bufLen = 32 << 10

// newSocket opens one in the namespace of the current thread; group is a
// multicast group to listen to, or 0.
func newSocket(group int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nf_tables socket: %w", err)
	}
	s := &socket{f: os.NewFile(uintptr(fd), "nf_tables"), buf: make([]byte, bufLen)}
	if err := s.setUp(fd, group); err != nil {
		return nil, errors.Join(fmt.Errorf("set up nf_tables socket: %w", err), s.f.Close())
	}
	return s, nil
}

func (s *socket) setUp(fd, group int) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	s.port = name.(*unix.SockaddrNetlink).Pid
	if group != 0 {
		return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
	}
	// Errors say what is to blame, and do not repeat the message.
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
}

func (s *socket) close() error { return s.f.Close() }

// grow makes room for sending a datagram of a size, and for many answers.
func (s *socket) grow(size int) error {
	rc, err := s.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = rc.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, max(size, 1<<20)),
		)
	})
	return errors.Join(err, failed)
}

// send numbers the messages and sends them in one datagram.
func (s *socket) send(msgs []message) error {
	size := 0
	for _, m := range msgs {
		size += headerLen + len(m.data) // a multiple of 4, as attributes are
	}
	b := make([]byte, 0, size)
	for i := range msgs {
		m := &msgs[i]
		s.seq++
		m.seq = s.seq
		b = binary.NativeEndian.AppendUint32(b, uint32(headerLen+len(m.data)))
		b = binary.NativeEndian.AppendUint16(b, m.typ)
		b = binary.NativeEndian.AppendUint16(b, m.flags)
		b = binary.NativeEndian.AppendUint32(b, m.seq)
		b = binary.NativeEndian.AppendUint32(b, s.port)
		b = append(b, m.data...)
	}
	_, err := s.f.Write(b)
	return err
}

// patient lets reads wait until then. The kernel answers before send
// returns, so that only a bug makes them wait.
func (s *socket) patient(d time.Duration) error {
	return s.f.SetReadDeadline(time.Now().Add(d))
}

// receive returns the messages of one datagram, which stay valid.
func (s *socket) receive() ([]message, error) {
	n, err := s.f.Read(s.buf)
	if err != nil {
		return nil, err
	}
	return parse(append([]byte(nil), s.buf[:n]...))
}

// errMalformed is what a datagram is refused with that does not hold what
// its lengths say.
var errMalformed = errors.New("malformed netlink message")

// parse splits a datagram.
func parse(b []byte) (msgs []message, err error) {
	for len(b) > 0 {
		if len(b) < headerLen {
			return nil, errMalformed
		}
		n := int(binary.NativeEndian.Uint32(b))
		if n < headerLen || n > len(b) {
			return nil, errMalformed
		}
		msgs = append(msgs, message{
			typ:   binary.NativeEndian.Uint16(b[4:]),
			flags: binary.NativeEndian.Uint16(b[6:]),
			seq:   binary.NativeEndian.Uint32(b[8:]),
			pid:   binary.NativeEndian.Uint32(b[12:]),
			data:  b[headerLen:n],
		})
		b = b[min((n+3)&^3, len(b)):]
	}
	return msgs, nil
}

// failed reads an answer that is an error or the end of a dump. It returns
// nil for an acknowledgement.
func (m message) failed() (*failure, error) {
	if len(m.data) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return nil, nil
		}
		return nil, errMalformed
	}
	errno := int32(binary.NativeEndian.Uint32(m.data))
	if errno >= 0 {
		return nil, nil
	}
	f := &failure{seq: m.seq, errno: unix.Errno(-errno)}
	rest := m.data[4:]
	if m.flags&unix.NLM_F_ACK_TLVS == 0 {
		return f, nil
	}
	if m.typ == unix.NLMSG_ERROR { // the header of the message that failed, or all of it
		if len(rest) < headerLen {
			return nil, errMalformed
		}
		skip := headerLen
		if m.flags&unix.NLM_F_CAPPED == 0 {
			skip = int(binary.NativeEndian.Uint32(rest)+3) &^ 3
		}
		if skip < headerLen || skip > len(rest) {
			return nil, errMalformed
		}
		rest = rest[skip:]
	}
	return f, walk(rest, func(a attr) {
		switch a.typ {
		case 1: // NLMSGERR_ATTR_MSG
			f.text = a.str()
		case 2: // NLMSGERR_ATTR_OFFS, in host order
			if len(a.data) == 4 {
				f.offset = binary.NativeEndian.Uint32(a.data)
			}
		}
	})
}
