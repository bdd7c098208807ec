package sockets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/holder"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

var ctx = context.Background()

func key(proto, addr string) kernel.HeldPort {
	a := netip.MustParseAddrPort(addr)
	return kernel.HeldPort{Proto: proto, IP: a.Addr(), Port: a.Port()}
}

// hold holds a port inside a namespace until the test ends.
func hold(t *testing.T, ns *kerneltest.NS, s *Sockets, k kernel.HeldPort) kernel.Held {
	t.Helper()
	var h kernel.Held
	ns.MustDo(func() (err error) {
		h, err = s.Hold(ctx, k)
		return err
	})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// bindable reports whether somebody else can have the address, trying as
// servers do, and as those do that share.
func bindable(t *testing.T, ns *kerneltest.NS, network, addr string) bool {
	t.Helper()
	can := false
	for _, opt := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		ns.MustDo(func() error {
			lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
				c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, 1) })
				return err
			}}
			var c interface{ Close() error }
			var err error
			if strings.HasPrefix(network, "udp") {
				c, err = lc.ListenPacket(ctx, network, addr)
			} else {
				c, err = lc.Listen(ctx, network, addr)
			}
			if err == nil {
				can = true
				return c.Close()
			}
			if !errors.Is(err, unix.EADDRINUSE) {
				return err
			}
			return nil
		})
	}
	return can
}

func TestNothingElseTakesAHeldPort(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	s := newSockets(t)
	for _, proto := range []string{"tcp", "udp"} {
		any4 := hold(t, ns, s, key(proto, "0.0.0.0:8080"))
		hold(t, ns, s, key(proto, "[::]:8080")) // beside it: each has its family
		hold(t, ns, s, key(proto, "127.0.0.1:9090"))
		for addr, free := range map[string]bool{
			"0.0.0.0:8080": false, "127.0.0.1:8080": false, "[::1]:8080": false, "[::]:8080": false,
			"127.0.0.1:9090": false, "0.0.0.0:9090": false, "127.0.0.2:9090": true, "[::1]:9090": true, "127.0.0.1:8081": true,
		} {
			network := proto + "4"
			if strings.HasPrefix(addr, "[") {
				network = proto + "6"
			}
			if got := bindable(t, ns, network, addr); got != free {
				t.Errorf("%s %s: free is %v, want %v", proto, addr, got, free)
			}
		}
		if err := any4.Close(); err != nil {
			t.Fatal(err)
		}
		// A child that another test is just starting has the socket until it
		// executes its program.
		free := func() bool { return bindable(t, ns, proto+"4", "127.0.0.1:8080") }
		for end := time.Now().Add(5 * time.Second); !free() && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		if !free() {
			t.Errorf("%s: the port is not free after it was let go", proto)
		}
	}
}

func TestHoldAnyPort(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	s := newSockets(t)
	a, b := hold(t, ns, s, key("tcp", "0.0.0.0:0")), hold(t, ns, s, key("tcp", "0.0.0.0:0"))
	if a.Port() == 0 || a.Port() == b.Port() {
		t.Errorf("any port is %d, any other %d", a.Port(), b.Port())
	}
	if bindable(t, ns, "tcp4", fmt.Sprintf("127.0.0.1:%d", a.Port())) {
		t.Error("the chosen port is not held")
	}
}

func TestHoldSaysWhy(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	s := newSockets(t)
	other := ns.Command(os.Args[0])
	other.Env = append(os.Environ(), envListen+"=127.0.0.1:8080")
	stdin, _ := other.StdinPipe()
	stdout, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		other.Wait()
	}()
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "listening\n" {
		t.Fatal(line)
	}
	hold(t, ns, s, key("udp", "127.0.0.1:5353"))
	for _, c := range []struct {
		key  kernel.HeldPort
		kind catenet.Kind
		says string
	}{
		{key("tcp", "127.0.0.1:8080"), catenet.KindConflict, "port 8080/tcp on 127.0.0.1 is taken"},
		{key("tcp", "0.0.0.0:8080"), catenet.KindConflict, fmt.Sprintf("(process %d)", other.Process.Pid)},
		{key("udp", "127.0.0.1:5353"), catenet.KindConflict, "another published port"},
		{key("udp", "0.0.0.0:5353"), catenet.KindConflict, "another published port"},
		{key("tcp", "192.0.2.1:80"), catenet.KindInvalid, "this host has no address 192.0.2.1"},
		{key("tcp", "[2001:db8::1]:80"), catenet.KindInvalid, "this host has no address 2001:db8::1"},
		{key("tcp", "[fe80::1]:80"), catenet.KindInvalid, "fe80::1"},
		{key("dccp", "0.0.0.0:80"), catenet.KindUnsupported, "80/dccp"},
	} {
		time.Sleep(holder.Pause)
		ns.MustDo(func() error {
			h, err := s.Hold(ctx, c.key)
			if err == nil {
				h.Close()
			}
			if said := fmt.Sprint(err, "; ", catenet.HintOf(err)); catenet.KindOf(err) != c.kind || !strings.Contains(said, c.says) || catenet.HintOf(err) == "" {
				t.Errorf("%+v: got %s (%v), want a %v error with %q and a hint", c.key, said, catenet.KindOf(err), c.kind, c.says)
			}
			return nil
		})
	}
}

// TestHoldSCTP holds the port where the kernel has SCTP; else the error names
// it. Both are right, each on its own kernel.
func TestHoldSCTP(t *testing.T) {
	t.Parallel()
	fd, sockErr := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if sockErr == nil {
		unix.Close(fd)
	}
	ns := kerneltest.New(t)
	ns.MustDo(func() error {
		h, err := newSockets(t).Hold(ctx, key("sctp", "0.0.0.0:36412"))
		if sockErr != nil {
			if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), "36412/sctp") || !strings.Contains(catenet.HintOf(err), "sctp") {
				t.Errorf("got %v, want an unsupported error that names the port", err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		return h.Close()
	})
}

// TestHoldWithoutPrivilege runs on a thread that has none.
func TestHoldWithoutPrivilege(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	ns.MustDo(func() error {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var mine, none [2]unix.CapUserData // of this thread
		if err := unix.Capget(&hdr, &mine[0]); err != nil {
			return err
		}
		for i := range none {
			none[i].Permitted = mine[i].Permitted
		}
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			return err
		}
		defer func() {
			if err := unix.Capset(&hdr, &mine[0]); err != nil {
				t.Error(err)
			}
		}()
		if _, err := newSockets(t).Hold(ctx, key("tcp", "0.0.0.0:80")); catenet.KindOf(err) != catenet.KindForbidden || !errors.Is(err, unix.EACCES) {
			t.Errorf("got %v, want a forbidden error", err)
		}
		return nil
	})
}

func TestAHeldUDPPortCollectsNothing(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	hold(t, ns, newSockets(t), key("udp", "0.0.0.0:5353"))
	ns.MustDo(func() error {
		c, err := net.Dial("udp", "127.0.0.1:5353")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 100 {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, line := range strings.Split(ns.Run("cat", "/proc/net/udp"), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasSuffix(f[1], ":14E9") {
			if f[4] != "00000000:00000000" {
				t.Errorf("the socket's queues are %s", f[4])
			}
			return
		}
	}
	t.Error("the held port is not in /proc/net/udp")
}

// TestClosedConnectionsAreNotInTheWay makes a port that nobody has any more,
// but whose last connection the server closed: it is in TIME_WAIT.
func TestClosedConnectionsAreNotInTheWay(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	ns.MustDo(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		c, err := net.Dial("tcp4", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		s, err := l.Accept()
		if err != nil {
			return err
		}
		s.Close()
		c.Read(make([]byte, 1))
		return errors.Join(c.Close(), l.Close())
	})
	if out := ns.Run("cat", "/proc/net/tcp"); !strings.Contains(out, "0100007F:1F90 0100007F:") {
		t.Fatalf("no closed connection is there:\n%s", out)
	}
	s := newSockets(t)
	hold(t, ns, s, key("tcp", "0.0.0.0:8080"))
	if bindable(t, ns, "tcp4", "127.0.0.1:8080") || bindable(t, ns, "tcp4", "0.0.0.0:8080") {
		t.Error("somebody else can have the held port")
	}
	if err := ns.Do(func() error { _, err := New(s.log).Hold(ctx, key("tcp", "0.0.0.0:8080")); return err }); !catenet.IsConflict(err) {
		t.Errorf("another daemon can hold it too: %v", err)
	}
}
