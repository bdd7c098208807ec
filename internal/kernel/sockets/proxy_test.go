package sockets

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// envContainer is the path of the container's namespace, for tests that run
// in the host's.
const envContainer = "CATENET_TEST_CONTAINER"

// atHost runs the test in a host's namespace with a container behind a link,
// at 192.0.2.2 and 2001:db8::2, and reports whether this is there.
func atHost(t *testing.T) bool {
	t.Helper()
	if inside(t) {
		return true
	}
	t.Parallel()
	host, ctr := kerneltest.New(t), kerneltest.New(t)
	kerneltest.Connect(host, "c0", "192.0.2.1/24", ctr, "eth0", "192.0.2.2/24")
	host.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "c0", "nodad")
	ctr.Run("ip", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
	enter(t, host, envContainer+"="+ctr.Path)
	return false
}

// inContainer opens something in the container's namespace.
func inContainer(t *testing.T, fn func() error) {
	t.Helper()
	ns, err := netns.New().Open(os.Getenv(envContainer))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := netns.Do(ns, fn); err != nil {
		t.Fatal(err)
	}
}

// echoTCP serves connections in the container: greeting with the client's
// address, then, once the client has ended its side, all that it sent.
func echoTCP(t *testing.T, addr string) {
	var l net.Listener
	inContainer(t, func() (err error) { l, err = net.Listen("tcp", addr); return err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, "hello")
				all, _ := io.ReadAll(c)
				c.Write(all)
			}()
		}
	}()
}

// echoUDP answers each datagram with itself.
func echoUDP(t *testing.T, addr string) {
	var pc net.PacketConn
	inContainer(t, func() (err error) { pc, err = net.ListenPacket("udp", addr); return err })
	t.Cleanup(func() { pc.Close() })
	go func() {
		b := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
}

func published(proto, at, to string) kernel.LoopbackPort {
	a := netip.MustParseAddrPort(at)
	return kernel.LoopbackPort{Proto: proto, IP: a.Addr(), Port: a.Port(), To: netip.MustParseAddrPort(to)}
}

func set(t *testing.T, x *Proxy, add, remove []kernel.LoopbackPort) {
	t.Helper()
	if err := x.Set(ctx, add, remove); err != nil {
		t.Fatal(err)
	}
}

func ports(p ...kernel.LoopbackPort) []kernel.LoopbackPort { return p }

// roundTrip sends a lot, ends its side, and expects all of it back.
func roundTrip(addr string, size int) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	sent := make([]byte, size)
	rand.Read(sent)
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, append([]byte("hello\n"), sent...)) {
		err = fmt.Errorf("%d bytes came back of %d", len(got), len(sent))
	}
	return err
}

func TestProxyCarriesTCP(t *testing.T) {
	if !atHost(t) {
		return
	}
	s := newSockets(t)
	x := s.Proxy()
	echoTCP(t, "192.0.2.2:80")
	echoTCP(t, "[2001:db8::2]:80")
	any4 := published("tcp", "0.0.0.0:8080", "192.0.2.2:80")
	any6 := published("tcp", "[::]:8080", "[2001:db8::2]:80")
	one := published("tcp", "127.0.0.1:9090", "192.0.2.2:80")
	held, err := s.Hold(ctx, keyOf(any4)) // held first; the others are served first
	if err != nil {
		t.Fatal(err)
	}
	set(t, x, ports(any4, any6, one), nil)
	held6, err := s.Hold(ctx, keyOf(any6))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Hold(ctx, keyOf(any6)); !catenet.IsConflict(err) {
		t.Errorf("a port is held twice: %v", err)
	}
	for _, addr := range []string{"127.0.0.1:8080", "127.0.0.5:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "127.0.0.1:9090"} {
		if err := roundTrip(addr, 3<<20); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.2:9090", "192.0.2.1:8080", "[2001:db8::1]:8080"} {
		if err := roundTrip(addr, 1); err == nil {
			t.Errorf("%s is served", addr)
		}
	}
	// Closed, but held; then let go.
	set(t, x, nil, ports(any4, any6, one))
	for _, addr := range []string{"127.0.0.1:8080", "[::1]:8080", "127.0.0.1:9090"} {
		if c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond); err == nil {
			c.Close()
			t.Errorf("%s is served after its removal", addr)
		}
	}
	if l, err := net.Listen("tcp4", "127.0.0.1:8080"); err == nil {
		l.Close()
		t.Error("the held port can be taken")
	}
	held.Close()
	held6.Close()
	for _, addr := range []string{"127.0.0.1:8080", "[::1]:8080", "127.0.0.1:9090"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("after all is closed: %v", err)
			continue
		}
		l.Close()
	}
	if len(s.ports) != 0 {
		t.Errorf("left over: %v", s.ports)
	}
}

func TestProxyChangesPorts(t *testing.T) {
	if !atHost(t) {
		return
	}
	s := newSockets(t)
	x := s.Proxy()
	echoTCP(t, "192.0.2.2:80")
	a, b := published("tcp", "127.0.0.1:8080", "192.0.2.2:80"), published("tcp", "127.0.0.1:8081", "192.0.2.2:80")
	old := published("tcp", "127.0.0.1:8080", "192.0.2.2:99")
	set(t, x, ports(old), nil)
	looking := kernel.Looking(t.Context())
	if err := x.Set(looking, ports(old), ports(b)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := x.Set(looking, ports(b), nil); !catenet.IsConflict(err) {
			t.Errorf("looking for a port that is not served: %v", err)
		}
		if err := x.Set(looking, nil, ports(old)); !catenet.IsConflict(err) {
			t.Errorf("looking for a port to be gone: %v", err)
		}
	}
	c, err := net.Dial("tcp", "127.0.0.1:8080")
	if err == nil { // else the reset was quicker than the dialler
		c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a container that refuses: %v, want a reset", err)
	}
	set(t, x, ports(a, published("sctp", "127.0.0.1:8080", "192.0.2.2:80")), ports(old))
	if err := roundTrip("127.0.0.1:8080", 1); err != nil {
		t.Errorf("after a change of target: %v", err)
	}
	// All or nothing.
	l, err := net.Listen("tcp", "127.0.0.1:8082")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Set(ctx, ports(b, published("tcp", "127.0.0.1:8082", "192.0.2.2:80")), ports(a)); !catenet.IsConflict(err) {
		t.Errorf("a taken port: %v", err)
	}
	l.Close()
	if err := roundTrip("127.0.0.1:8080", 1); err != nil {
		t.Errorf("a failed change removed a port: %v", err)
	}
	if err := roundTrip("127.0.0.1:8081", 1); err == nil {
		t.Error("a failed change added a port")
	}
	// An open connection ends with its port, and not with a port that stays.
	set(t, x, ports(b), nil)
	open := func(addr string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, len("hello\n"))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca, cb := open("127.0.0.1:8080"), open("127.0.0.1:8081")
	if err := x.Restore(ctx, ports(b)); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a connection of a removed port: %v, want a reset", err)
	}
	cb.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadAll(cb); err != nil {
		t.Errorf("a connection of a port that stays: %v", err)
	}
	if err := x.Close(); err != nil || len(s.ports) != 0 {
		t.Errorf("after Close: %v, %v", s.ports, err)
	}
}

// How long ask waits where an answer is due, and where none is.
const answered, unanswered = 10 * time.Second, 500 * time.Millisecond

// ask sends a datagram and returns the answer, and whether it came from the
// address that was asked (a connected socket takes no other).
func ask(addr string, size int, patience time.Duration) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent, got := make([]byte, size), make([]byte, maxDatagram)
	rand.Read(sent)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	n, err := c.Read(got)
	if err == nil && !bytes.Equal(sent, got[:n]) {
		err = fmt.Errorf("%d bytes came back of %d", n, size)
	}
	return err
}

func TestProxyCarriesUDP(t *testing.T) {
	if !atHost(t) {
		return
	}
	s := newSockets(t)
	x := s.Proxy()
	echoUDP(t, "192.0.2.2:53")
	echoUDP(t, "[2001:db8::2]:53")
	p4, p6 := published("udp", "0.0.0.0:5353", "192.0.2.2:53"), published("udp", "[::]:5353", "[2001:db8::2]:53")
	if _, err := s.Hold(ctx, keyOf(p4)); err != nil {
		t.Fatal(err)
	}
	set(t, x, ports(p4, p6), nil)
	for _, addr := range []string{"127.0.0.1:5353", "127.0.0.7:5353", "[::1]:5353", "[::ffff:127.0.0.1]:5353"} {
		for _, size := range []int{0, 1, 1400, 60000} {
			if err := ask(addr, size, answered); err != nil {
				t.Errorf("%s, %d bytes: %v", addr, size, err)
			}
		}
	}
	for _, addr := range []string{"192.0.2.1:5353", "[2001:db8::1]:5353"} {
		if err := ask(addr, 1, unanswered); err == nil {
			t.Errorf("%s is served", addr)
		}
	}
	set(t, x, nil, ports(p4, p6))
	for _, addr := range []string{"127.0.0.1:5353", "[::1]:5353"} {
		if err := ask(addr, 1, unanswered); err == nil {
			t.Errorf("%s is served after its removal", addr)
		}
	}
	set(t, x, ports(p4), nil)
	if err := ask("127.0.0.1:5353", 1, answered); err != nil {
		t.Errorf("served again: %v", err)
	}
	x.Close()
}

func TestProxyForgetsUDPClients(t *testing.T) {
	if !atHost(t) {
		return
	}
	s := newSockets(t)
	x := s.Proxy()
	echoUDP(t, "192.0.2.2:53")
	p := published("udp", "127.0.0.1:5353", "192.0.2.2:53")
	set(t, x, ports(p), nil)
	server := s.ports[keyOf(p)].server.(*datagramServer)
	server.mu.Lock()
	server.idle = 300 * time.Millisecond
	server.mu.Unlock()
	count := func() int {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.flows)
	}
	for range 3 {
		if err := ask("127.0.0.1:5353", 10, answered); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(); n != 3 {
		t.Errorf("%d flows of 3 clients", n)
	}
	// A client that goes on keeps its flow, also beyond the idle time.
	c, err := net.Dial("udp", "127.0.0.1:5353")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.Write([]byte("x"))
		time.Sleep(100 * time.Millisecond)
	}
	if n := count(); n != 1 {
		t.Errorf("%d flows while one client goes on, want 1", n)
	}
	c.Close()
	for range maxFlows + 50 {
		c, err := net.Dial("udp", "127.0.0.1:5353")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		c.Close()
	}
	if n := count(); n > maxFlows {
		t.Errorf("%d flows, the most is %d", n, maxFlows)
	}
	deadline := time.Now().Add(5 * time.Second)
	for count() > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if n := count(); n != 0 {
		t.Errorf("%d flows are never forgotten", n)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
