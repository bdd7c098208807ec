package link

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// conn is a blocking rtnetlink socket in the namespace of the thread that
// opened it. The kernel has answered when a send returns, so that a receive
// never really waits, and the runtime's poller would only add to the time.
// For one goroutine at a time.
type conn struct {
	fd    int
	wrote *atomic.Uint64 // the counter of whoever asks now; see kernel.CountWrites
	looks bool           // who asks now changes nothing; see kernel.Looking
}

// dumpTries bounds how often a dump that the kernel calls inconsistent
// (NLM_F_DUMP_INTR: something changed meanwhile) is asked for again.
const dumpTries = 10

// buffers are for receiving: the kernel fills up to 32 KiB in a dump.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// Shorter answers, the kernel's own words, and filters on dumps.
	for _, opt := range []int{unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("set up netlink socket: %w", err)
		}
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// run sends the batch in one call and returns what the kernel refused of it,
// in order; err is for a socket that failed. What was not refused was done.
func (c *conn) run(b *batch) (refused []*refusal, err error) {
	if b.empty() {
		return nil, nil
	}
	b.close()
	// Refusals are always answered; success need only be for the last.
	native.PutUint16(b.buf[b.open+6:], native.Uint16(b.buf[b.open+6:])|unix.NLM_F_ACK)
	failpoint.Before("link.send")
	err = c.ask(b.buf, func(m wire.Message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR || m.Seq == 0 || int(m.Seq) > len(b.whats) {
			return false, nil
		}
		if a := m.Answer(); a.Errno != 0 {
			i := int(m.Seq) - 1
			refused = append(refused, &refusal{i, b.whats[i], a})
		}
		return int(m.Seq) == len(b.whats), nil
	})
	failpoint.After("link.send")
	return refused, err
}

// query sends one request that is answered by one message, and returns that.
// The answer is valid until the function returns.
func (c *conn) query(b *batch, take func(wire.Message)) error {
	b.close()
	return c.ask(b.buf, func(m wire.Message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR {
			take(m)
			return true, nil
		}
		return true, &refusal{0, b.whats[0], m.Answer()}
	})
}

// dump asks for a list, giving each message of it to take. When the list
// changed while it was being told, it is asked for again: reset then forgets
// what take was given.
func (c *conn) dump(b *batch, reset func(), take func(wire.Message)) error {
	b.close()
	native.PutUint16(b.buf[6:], native.Uint16(b.buf[6:])|unix.NLM_F_DUMP)
	for range dumpTries {
		torn := false
		reset()
		err := c.ask(b.buf, func(m wire.Message) (bool, error) {
			torn = torn || m.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if a := m.Answer(); a.Errno != 0 {
					return true, &refusal{0, b.whats[0], a}
				}
				return true, nil
			}
			take(m)
			return false, nil
		})
		if err != nil || !torn {
			return err
		}
	}
	return fmt.Errorf("%s: changing too fast to be read", b.whats[0])
}

// ask sends and gives each message of the answer to take, until that says it
// was the last or fails.
func (c *conn) ask(request []byte, take func(wire.Message) (last bool, err error)) error {
	if err := unix.Sendto(c.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, _, err := unix.Recvfrom(c.fd, *buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from netlink: %w", err)
		}
		for m := range wire.Messages((*buf)[:n]) {
			if last, err := take(m); last || err != nil {
				return err
			}
		}
	}
}
