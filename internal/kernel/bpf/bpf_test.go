package bpf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/netns"
)

var ctx = context.Background()

// A test runs itself again as a process in a host's namespace (envInside is
// its name), with a container's (envContainer) behind a link.
const (
	envInside    = "CATENET_TEST_INSIDE"
	envContainer = "CATENET_TEST_CONTAINER"
	envDir       = "CATENET_TEST_DIR"
)

// atHost reports whether this process is the one in the host's namespace; if
// not, it runs that one. The container is at 192.0.2.2 and 2001:db8::2.
func atHost(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envInside) == t.Name() {
		return true
	}
	t.Parallel()
	host, ctr := kerneltest.New(t), kerneltest.New(t)
	kerneltest.Connect(host, "c0", "192.0.2.1/24", ctr, "eth0", "192.0.2.2/24")
	host.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "c0", "nodad")
	ctr.Run("ip", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
	dir := filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	cmd := host.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), envInside+"="+t.Name(), envContainer+"="+ctr.Path, envDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	return false
}

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

func options(t *testing.T) Options {
	return Options{Dir: os.Getenv(envDir), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func open(t *testing.T) *Loopback {
	t.Helper()
	l, err := Open(options(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func published(proto, at, to string) kernel.LoopbackPort {
	a := netip.MustParseAddrPort(at)
	return kernel.LoopbackPort{Proto: proto, IP: a.Addr(), Port: a.Port(), To: netip.MustParseAddrPort(to)}
}

func ports(p ...kernel.LoopbackPort) []kernel.LoopbackPort { return p }

func set(t *testing.T, l *Loopback, add, remove []kernel.LoopbackPort) {
	t.Helper()
	if err := l.Set(ctx, add, remove); err != nil {
		t.Fatal(err)
	}
}

// greetTCP greets whoever connects to the container.
func greetTCP(t *testing.T, addr string) {
	var l net.Listener
	inContainer(t, func() (err error) { l, err = net.Listen("tcp", addr); return err })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello from ", addr)
			c.Close()
		}
	}()
}

// echoUDP answers each datagram with itself.
func echoUDP(t *testing.T, addr string) {
	var pc net.PacketConn
	inContainer(t, func() (err error) { pc, err = net.ListenPacket("udp", addr); return err })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
}

// greeting connects and returns what came, and whom the socket takes its peer
// for.
func greeting(addr string) (said, peer string, err error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), c.RemoteAddr().String(), err
}

func TestTCP(t *testing.T) {
	if !atHost(t) {
		return
	}
	l := open(t)
	greetTCP(t, "192.0.2.2:80")
	greetTCP(t, "192.0.2.2:81")
	greetTCP(t, "[2001:db8::2]:80")
	any4 := published("tcp", "0.0.0.0:8080", "192.0.2.2:80")
	one4 := published("tcp", "127.0.0.9:8080", "192.0.2.2:81")
	any6 := published("tcp", "[::]:8080", "[2001:db8::2]:80")
	one6 := published("tcp", "[::1]:9090", "[2001:db8::2]:80")
	set(t, l, ports(any4, one4, any6, one6, published("sctp", "0.0.0.0:8080", "192.0.2.2:80")), nil)
	const four, eleven, six = "hello from 192.0.2.2:80", "hello from 192.0.2.2:81", "hello from [2001:db8::2]:80"
	for _, c := range []struct{ addr, said, peer string }{
		{"127.0.0.1:8080", four, "127.0.0.1:8080"},
		{"127.0.0.5:8080", four, "127.0.0.5:8080"},
		{"127.0.0.9:8080", eleven, "127.0.0.9:8080"},
		{"[::1]:8080", six, "[::1]:8080"},
		{"[::1]:9090", six, "[::1]:9090"},
	} {
		if said, peer, err := greeting(c.addr); err != nil || said != c.said || peer != c.peer {
			t.Errorf("%s: %q by %s, %v", c.addr, said, peer, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:9090", "127.0.0.1:8081", "192.0.2.1:8080", "[2001:db8::1]:8080"} {
		if said, _, err := greeting(addr); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %q, %v, want refused", addr, said, err)
		}
	}
	// IPv4 by an IPv6 socket, and the unspecified addresses, which mean loopback.
	for addr, want := range map[string]string{
		"::ffff:127.0.0.1": "::ffff:127.0.0.1", "::ffff:127.0.0.9": "::ffff:127.0.0.9", "::ffff:0.0.0.0": "::ffff:127.0.0.1", "::": "::1", "0.0.0.0": "127.0.0.1",
	} {
		if peer, err := connectRaw(netip.AddrPortFrom(netip.MustParseAddr(addr), 8080)); err != nil || peer.Addr() != netip.MustParseAddr(want) || peer.Port() != 8080 {
			t.Errorf("%s: the peer is %v, %v, want %s", addr, peer, err, want)
		}
	}
	// Other namespaces' loopback is their own.
	inContainer(t, func() error {
		if said, _, err := greeting("127.0.0.1:8080"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("from inside the container: %q, %v, want refused", said, err)
		}
		return nil
	})
	set(t, l, ports(published("tcp", "0.0.0.0:8080", "192.0.2.2:81")), ports(any4, one6))
	if said, _, err := greeting("127.0.0.1:8080"); said != eleven {
		t.Errorf("after a change of target: %q, %v", said, err)
	}
	if _, _, err := greeting("[::1]:9090"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after its removal: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// connectRaw connects a socket of the address's family, without Go's changes
// to addresses, and returns its peer.
func connectRaw(to netip.AddrPort) (netip.AddrPort, error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sa); err != nil {
		return netip.AddrPort{}, err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return fromSockaddr(peer), nil
}

func fromSockaddr(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func TestUDP(t *testing.T) {
	if !atHost(t) {
		return
	}
	l := open(t)
	echoUDP(t, "192.0.2.2:53")
	echoUDP(t, "192.0.2.2:54")
	echoUDP(t, "[2001:db8::2]:53")
	any4, any6 := published("udp", "0.0.0.0:5353", "192.0.2.2:53"), published("udp", "[::]:5353", "[2001:db8::2]:53")
	one4 := published("udp", "127.0.0.9:5353", "192.0.2.2:54")
	set(t, l, ports(any4, any6, one4), nil)
	for _, addr := range []string{"127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.9"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), 5353)
		if peer, err := connectedUDP(to); err != nil || peer != to {
			t.Errorf("connected to %s: the peer is %v, %v", to, peer, err)
		}
	}
	// Unconnected sockets of both families, each with several peers at once.
	for family, addrs := range map[int][]string{
		unix.AF_INET:  {"127.0.0.1", "127.0.0.9"},
		unix.AF_INET6: {"::1", "::ffff:127.0.0.1", "::ffff:127.0.0.9"},
	} {
		for i, from := range unconnectedUDP(t, family, addrs...) {
			if want := netip.AddrPortFrom(netip.MustParseAddr(addrs[i]), 5353); from != want {
				t.Errorf("asked %s, and was answered by %s", want, from)
			}
		}
	}
	set(t, l, nil, ports(any4, any6, one4))
	if _, err := connectedUDP(netip.MustParseAddrPort("127.0.0.1:5353")); err == nil {
		t.Error("served after its removal")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func udpSocket(to netip.AddrPort) (int, unix.Sockaddr, error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	}
	return fd, sa, err
}

// connectedUDP connects, asks, and returns whom the answer came from.
func connectedUDP(to netip.AddrPort) (netip.AddrPort, error) {
	fd, sa, err := udpSocket(to)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sa); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		return netip.AddrPort{}, err
	}
	_, from, err := unix.Recvfrom(fd, make([]byte, 10), 0)
	if err != nil {
		return netip.AddrPort{}, err
	}
	peer, err := unix.Getpeername(fd)
	if err == nil && fromSockaddr(peer) != fromSockaddr(from) {
		err = fmt.Errorf("the peer is %v, the answer came from %v", fromSockaddr(peer), fromSockaddr(from))
	}
	return fromSockaddr(from), err
}

// unconnectedUDP asks several addresses by one socket and returns whom the
// answers came from, in the order of the questions.
func unconnectedUDP(t *testing.T, family int, addrs ...string) []netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		t.Fatal(err)
	}
	for i, addr := range addrs {
		a := netip.MustParseAddr(addr)
		var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: a.As16(), Port: 5353}
		if a.Is4() {
			sa = &unix.SockaddrInet4{Addr: a.As4(), Port: 5353}
		}
		if err := unix.Sendto(fd, []byte{byte(i)}, 0, sa); err != nil {
			t.Fatalf("ask %s: %v", addr, err)
		}
	}
	from := make([]netip.AddrPort, len(addrs))
	for range addrs {
		b := make([]byte, 10)
		if _, sa, err := unix.Recvfrom(fd, b, 0); err == nil {
			from[b[0]] = fromSockaddr(sa)
		} else {
			t.Errorf("no answer: %v", err)
		}
	}
	return from
}

// TestTakeover: ports are served without a daemon and while the next one
// takes over, which keeps what is right and brings its own programs.
func TestTakeover(t *testing.T) {
	if !atHost(t) {
		return
	}
	greetTCP(t, "192.0.2.2:80")
	first := open(t)
	stays, goes := published("tcp", "127.0.0.1:8080", "192.0.2.2:80"), published("tcp", "127.0.0.1:8081", "192.0.2.2:80")
	changes := published("tcp", "127.0.0.1:8082", "192.0.2.2:99")
	set(t, first, ports(stays, goes, changes), nil)
	// As a kill does, this closes every descriptor.
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	done, failed := make(chan bool), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-done:
				return
			default:
				if _, _, err := greeting("127.0.0.1:8080"); err != nil {
					failed <- err
					return
				}
			}
		}
	}()
	time.Sleep(50 * time.Millisecond)
	second := open(t)
	before := programOf(t, "connect4")
	time.Sleep(50 * time.Millisecond)
	changes.To = stays.To
	if err := second.Restore(ctx, ports(stays, changes, published("sctp", "127.0.0.1:1", "192.0.2.2:1"))); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	close(done)
	if err := <-failed; err != nil {
		t.Errorf("during the takeover: %v", err)
	}
	if after := programOf(t, "connect4"); after == before {
		t.Error("the earlier daemon's program is still attached")
	}
	for addr, want := range map[string]bool{"127.0.0.1:8080": true, "127.0.0.1:8081": false, "127.0.0.1:8082": true} {
		if _, _, err := greeting(addr); (err == nil) != want {
			t.Errorf("%s after the takeover: %v", addr, err)
		}
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	// A link that is missing is made again.
	a, err := link.LoadPinnedLink(filepath.Join(os.Getenv(envDir), "connect4"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Unpin(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := greeting("127.0.0.1:8080"); err == nil {
		t.Fatal("served without a link")
	}
	third := open(t)
	if _, _, err := greeting("127.0.0.1:8080"); err != nil {
		t.Errorf("after the link was made again: %v", err)
	}
	third.Close()
}

// programOf returns the ID of the program that a pinned link has.
func programOf(t *testing.T, name string) ebpf.ProgramID {
	t.Helper()
	a, err := link.LoadPinnedLink(filepath.Join(os.Getenv(envDir), name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	info, err := a.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Program
}

func TestRemoveLeavesNothing(t *testing.T) {
	if !atHost(t) {
		return
	}
	dir := os.Getenv(envDir)
	greetTCP(t, "192.0.2.2:80")
	l := open(t)
	set(t, l, ports(published("tcp", "127.0.0.1:8080", "192.0.2.2:80")), nil)
	if _, _, err := greeting("127.0.0.1:8080"); err != nil {
		t.Fatal(err)
	}
	mine := make(map[ebpf.ProgramID]bool)
	for _, h := range hooks {
		mine[programOf(t, h.name)] = true
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := greeting("127.0.0.1:8080"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("served after Remove, while a daemon has it open: %v", err)
	}
	l.Close()
	root, err := os.Open(l.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, h := range hooks {
		got, err := link.QueryPrograms(link.QueryOptions{Target: int(root.Fd()), Attach: h.attach})
		if err != nil {
			t.Errorf("%s: %v", h.name, err)
			continue
		}
		for _, p := range got.Programs {
			if mine[p.ID] {
				t.Errorf("program %d is still at %s", p.ID, h.name)
			}
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}

func TestSetIsAllOrNothing(t *testing.T) {
	if !atHost(t) {
		return
	}
	greetTCP(t, "192.0.2.2:80")
	l := open(t)
	kept := published("tcp", "127.0.0.1:8080", "192.0.2.2:80")
	set(t, l, ports(kept), nil)
	many := make([]kernel.LoopbackPort, maxPorts)
	for i := range many {
		many[i] = published("tcp", fmt.Sprintf("127.1.0.1:%d", i), "192.0.2.2:80")
	}
	many = append(many, published("tcp", "127.2.0.1:1", "192.0.2.2:80"))
	if err := l.Set(ctx, many, ports(kept)); err == nil {
		t.Fatal("more ports than the map takes")
	}
	n := 0
	var key, to place
	for all := l.ports.Iterate(); all.Next(&key, &to); {
		n++
	}
	if n != 1 {
		t.Errorf("%d ports are left of a change that failed, want 1", n)
	}
	if _, _, err := greeting("127.0.0.1:8080"); err != nil {
		t.Errorf("a change that failed removed a port: %v", err)
	}
	l.Close()
}

// TestLooking: who only looks is told what is not carried, and changes nothing.
func TestLooking(t *testing.T) {
	if !atHost(t) {
		return
	}
	l := open(t)
	kept := published("tcp", "127.0.0.1:8080", "192.0.2.2:80")
	set(t, l, ports(kept), nil)
	looking := kernel.Looking(ctx)
	look := func(add, remove []kernel.LoopbackPort, want string) {
		t.Helper()
		for range 2 {
			switch err := l.Set(looking, add, remove); {
			case want == "" && err != nil:
				t.Error(err)
			case want != "" && (!catenet.IsConflict(err) || !strings.Contains(err.Error(), want)):
				t.Errorf("%v, want a conflict that tells of %s", err, want)
			}
		}
	}
	look(ports(kept, published("sctp", "127.0.0.1:1", "192.0.2.2:1")), ports(published("tcp", "127.0.0.1:9", "192.0.2.2:80")), "")
	look(ports(published("tcp", "127.0.0.1:8080", "192.0.2.2:81")), nil, "port 8080")
	look(ports(published("tcp", "127.0.0.1:9", "192.0.2.2:80")), nil, "port 9 ")
	look(nil, ports(kept), "port 8080")
	if err := l.links["connect4"].Detach(); err != nil {
		t.Fatal(err)
	}
	look(ports(kept), nil, "connect4")
	l.Close()
}

// TestRestoreReadsAllOrFails: what cannot be read might be what has to go.
func TestRestoreReadsAllOrFails(t *testing.T) {
	if !atHost(t) {
		return
	}
	l := open(t)
	if err := l.ports.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(ctx, nil); err == nil {
		t.Error("ports that could not be read are restored")
	}
	l.Close()
}

func TestWithoutCgroup2(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "mountinfo")
	for _, c := range []struct{ lines, want string }{
		{"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"41 31 0:38 /a /elsewhere rw - cgroup2 cgroup2 rw\n42 31 0:38 / /sys/fs/a\\040b rw - cgroup2 cgroup2 rw\n", "/sys/fs/a b"},
		{"31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup2 rw\n", ""},
		{"", ""},
	} {
		if err := os.WriteFile(table, []byte(c.lines), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := findCgroup(table)
		if got != c.want || (c.want == "") != catenet.IsUnsupported(err) {
			t.Errorf("%q: %q, %v, want %q", c.lines, got, err, c.want)
		}
	}
}

// TestALackLeavesNothing opens on a folder that is no cgroup.
func TestALackLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bpf")
	l, err := Open(Options{Dir: dir, Cgroup: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), "cgroup connect4") {
		t.Errorf("got %v, %v, want an unsupported error that names what is lacking", l, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func BenchmarkSet1000(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "bpf")
	l, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer Remove(dir)
	defer l.Close()
	many := make([]kernel.LoopbackPort, 1000)
	for i := range many {
		many[i] = published("tcp", fmt.Sprintf("127.1.0.1:%d", i), "192.0.2.2:80")
	}
	for b.Loop() {
		if err := errors.Join(l.Set(ctx, many, nil), l.Set(ctx, nil, many)); err != nil {
			b.Fatal(err)
		}
	}
}
