package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// numbers are flows of numbered messages that servers send back: streams of
// TCP, and packets of UDP.
type numbers struct {
	t       *testing.T
	over    chan struct{}
	senders sync.WaitGroup // which end when it is over
	wg      sync.WaitGroup // who receives until its end is closed
	ends    []io.Closer

	sent, arrived, back atomic.Int64 // packets
	streamed            atomic.Int64 // messages of streams
}

// newNumbers begins with nothing; what serve and send start ends with stop.
func newNumbers(t *testing.T) *numbers { return &numbers{t: t, over: make(chan struct{})} }

// roomy has a socket hold what nobody has had the time to read yet.
func roomy(_, _ string, c syscall.RawConn) (err error) {
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}), err)
}

// serve sends back, at a port of a namespace, what comes by TCP and UDP.
func (n *numbers) serve(ns string, port int) {
	n.t.Helper()
	lc := net.ListenConfig{Control: roomy}
	addr := fmt.Sprintf("0.0.0.0:%d", port)
	var l net.Listener
	var pc net.PacketConn
	if err := kerneltest.In(ns, func() (err error) {
		if l, err = lc.Listen(n.t.Context(), "tcp4", addr); err == nil {
			pc, err = lc.ListenPacket(n.t.Context(), "udp4", addr)
		}
		return err
	}); err != nil {
		n.t.Fatal(err)
	}
	n.ends = append(n.ends, l, pc)
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() {
				defer c.Close()
				if _, err := io.Copy(c, c); err != nil {
					n.t.Errorf("a server's stream: %v", err)
				}
			})
		}
	})
	n.wg.Go(func() {
		buf := make([]byte, 64)
		for {
			k, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			n.arrived.Add(1)
			if _, err := pc.WriteTo(buf[:k], from); err != nil {
				n.t.Errorf("send packet back: %v", err)
			}
		}
	})
}

func (n *numbers) dial(ns, proto, to string) (c net.Conn) {
	n.t.Helper()
	d := net.Dialer{Control: roomy}
	if err := kerneltest.In(ns, func() (err error) { c, err = d.DialContext(n.t.Context(), proto, to); return err }); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// each calls do for every number, so many a second, until it is over.
func (n *numbers) each(rate int, do func(i uint64) error) error {
	began := time.Now()
	for i := uint64(0); ; i++ {
		select {
		case <-n.over:
			return nil
		case <-time.After(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
		}
		if err := do(i); err != nil {
			return fmt.Errorf("number %d: %w", i, err)
		}
	}
}

// stream sends numbers by TCP, and wants them back in order.
func (n *numbers) stream(ns, to string) {
	n.t.Helper()
	c := n.dial(ns, "tcp4", to)
	n.senders.Go(func() {
		defer c.Close()
		b := make([]byte, 8)
		err := n.each(50, func(i uint64) error {
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, i)); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
			if got := binary.BigEndian.Uint64(b); got != i {
				return fmt.Errorf("%d came back", got)
			}
			n.streamed.Add(1)
			return nil
		})
		if err != nil {
			n.t.Errorf("the stream to %s is broken: %v", to, err)
		}
	})
}

// packets sends numbers by UDP, rate a second, and counts those that come
// back, each once.
func (n *numbers) packets(ns, to string, rate int) {
	n.t.Helper()
	c := n.dial(ns, "udp4", to)
	n.ends = append(n.ends, c)
	n.wg.Go(func() {
		seen := map[uint64]bool{}
		b := make([]byte, 64)
		for {
			k, err := c.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || k != 8 || seen[binary.BigEndian.Uint64(b)] {
				n.t.Errorf("packets from %s: %x, %v", to, b[:k], err)
				return
			}
			seen[binary.BigEndian.Uint64(b)] = true
			n.back.Add(1)
		}
	})
	n.senders.Go(func() {
		err := n.each(rate, func(i uint64) error {
			n.sent.Add(1)
			_, err := c.Write(binary.BigEndian.AppendUint64(nil, i))
			return err
		})
		if err != nil {
			n.t.Errorf("packets to %s: %v", to, err)
		}
	})
}

// stop ends the flows, once the last packets have come back or can not any
// more.
func (n *numbers) stop() {
	close(n.over)
	n.senders.Wait()
	for last := int64(-1); n.back.Load() < n.sent.Load() && last != n.back.Load(); time.Sleep(time.Second) {
		last = n.back.Load()
	}
	for _, c := range n.ends {
		c.Close()
	}
	n.wg.Wait()
	n.t.Logf("%d messages of streams; %d packets sent, %d arrived, %d back", n.streamed.Load(), n.sent.Load(), n.arrived.Load(), n.back.Load())
	if s := n.sent.Load(); n.arrived.Load() != s || n.back.Load() != s {
		n.t.Errorf("%d packets lost on their way there, %d in all", s-n.arrived.Load(), s-n.back.Load())
	}
}
