package nft

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

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
	seq uint32
	wire.Answer
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

// inheritSocket takes over another program's socket, which was set up there;
// nil for nil. Answers that nobody has read there any more are thrown away.
func inheritSocket(f *os.File) (*socket, error) {
	if f == nil {
		return nil, nil
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("take over nf_tables socket: %w", err)
	}
	s := &socket{f: os.NewFile(uintptr(fd), "nf_tables"), buf: make([]byte, bufLen)}
	for !errors.Is(err, unix.EAGAIN) {
		if _, _, err = unix.Recvfrom(fd, s.buf, unix.MSG_DONTWAIT); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
			return nil, errors.Join(fmt.Errorf("empty nf_tables socket: %w", err), s.f.Close())
		}
	}
	if s.port, err = portOf(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("take over nf_tables socket: %w", err), s.f.Close())
	}
	return s, nil
}

// portOf returns a netlink socket's port ID.
func portOf(fd int) (uint32, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	nl, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("a %T is no netlink socket", name)
	}
	return nl.Pid, nil
}

func (s *socket) setUp(fd, group int) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var err error
	if s.port, err = portOf(fd); err != nil {
		return err
	}
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
func (s *socket) send(msgs []wire.Message) error {
	size := 0
	for _, m := range msgs {
		size += wire.HeaderLen + len(m.Data) // a multiple of 4, as attributes are
	}
	b := make([]byte, 0, size)
	for i := range msgs {
		m := &msgs[i]
		s.seq++
		m.Seq, m.Port = s.seq, s.port
		b = append(wire.Header(b, *m, len(m.Data)), m.Data...)
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
func (s *socket) receive() ([]wire.Message, error) {
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
func parse(b []byte) (msgs []wire.Message, err error) {
	for m := range wire.Messages(b) {
		msgs = append(msgs, m)
		b = b[min(wire.Align(wire.HeaderLen+len(m.Data)), len(b)):]
	}
	if len(b) > 0 {
		return nil, errMalformed
	}
	return msgs, nil
}
