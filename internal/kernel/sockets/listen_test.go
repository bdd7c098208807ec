package sockets

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/netns"
)

func openNS(t *testing.T, ns *kerneltest.NS) *kernel.Namespace {
	t.Helper()
	n, err := netns.New().Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func portOf(t *testing.T, a net.Addr) uint16 {
	t.Helper()
	switch a := a.(type) {
	case *net.UDPAddr:
		return uint16(a.Port)
	case *net.TCPAddr:
		return uint16(a.Port)
	}
	t.Fatalf("address %v", a)
	return 0
}

func TestListenIn(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	s := newSockets(t)
	pc, l, err := s.ListenIn(ctx, openNS(t, ns), 0)
	if err != nil {
		t.Fatal(err)
	}
	n := portOf(t, pc.LocalAddr())
	if n == 0 || n != portOf(t, l.Addr()) || pc.LocalAddr().(*net.UDPAddr).IP.String() != "127.0.0.11" {
		t.Fatalf("listens on %v and %v", pc.LocalAddr(), l.Addr())
	}
	go func() {
		b := make([]byte, 100)
		k, from, err := pc.ReadFrom(b)
		if err == nil {
			pc.WriteTo(b[:k], from)
		}
	}()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	for _, network := range []string{"udp", "tcp"} {
		var c net.Conn
		ns.MustDo(func() (err error) {
			c, err = net.Dial(network, l.Addr().String())
			return err
		})
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Errorf("no answer by %s: %v", network, err)
		}
		c.Close()
		if c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
			c.Close()
			t.Error("it listens on the host")
		}
	}
	// Taken: any other. Free again: the one that is wanted.
	pc2, l2, err := s.ListenIn(ctx, openNS(t, ns), n)
	if err != nil {
		t.Fatal(err)
	}
	if m := portOf(t, pc2.LocalAddr()); m == n || m == 0 || m != portOf(t, l2.Addr()) {
		t.Errorf("with %d taken it listens on %v and %v", n, pc2.LocalAddr(), l2.Addr())
	}
	pc2.Close()
	l2.Close()
	pc.Close()
	l.Close()
	// A program that another test is starting has our sockets until its exec.
	for try := 0; ; try++ {
		if pc, l, err = s.ListenIn(ctx, openNS(t, ns), n); err != nil {
			t.Fatal(err)
		}
		pc.Close()
		l.Close()
		if portOf(t, pc.LocalAddr()) == n && portOf(t, l.Addr()) == n {
			return
		}
		if try == 100 {
			t.Fatalf("port %d was wanted: %v, %v", n, pc.LocalAddr(), l.Addr())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestListenInTCPTaken: UDP is free at the wanted port, TCP is not.
func TestListenInTCPTaken(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	ns.MustDo(func() error {
		l, err := net.Listen("tcp", "127.0.0.11:7000")
		t.Cleanup(func() { l.Close() })
		return err
	})
	pc, l, err := newSockets(t).ListenIn(ctx, openNS(t, ns), 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	defer l.Close()
	if n := portOf(t, pc.LocalAddr()); n == 7000 || n != portOf(t, l.Addr()) {
		t.Errorf("listens on %v and %v", pc.LocalAddr(), l.Addr())
	}
}

func TestListenInEndsWithItsContext(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := newSockets(t).ListenIn(over, openNS(t, kerneltest.New(t)), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkListenIn(b *testing.B) {
	ns := kerneltest.New(b)
	n, err := netns.New().Open(ns.Path)
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	s := New(nil)
	for b.Loop() {
		pc, l, err := s.ListenIn(ctx, n, 0)
		if err != nil {
			b.Fatal(err)
		}
		pc.Close()
		l.Close()
	}
}
