package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/tun"
)

// node is a host with one container, on the real kernel: 10.5.N.2 behind
// 10.5.N.1, the device has 10.5.N.0, the host is at 192.0.2.N.
type node struct {
	t         *testing.T
	n         int
	host, box *kerneltest.NS
	tr        *Transport
}

// wire joins two hosts, on which nothing runs yet.
func wire(t *testing.T) (a, b *node) {
	t.Helper()
	both := [2]*node{}
	for i := range both {
		n := &node{t: t, n: i + 1, host: kerneltest.New(t), box: kerneltest.New(t)}
		gateway := fmt.Sprintf("10.5.%d.1", n.n)
		kerneltest.Connect(n.host, "in0", gateway+"/24", n.box, "eth0", fmt.Sprintf("10.5.%d.2/24", n.n))
		n.box.Run("ip", "link", "set", "eth0", "mtu", "1472") // as containers have it
		n.box.Run("ip", "route", "add", "default", "via", gateway)
		n.host.Run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
		both[i] = n
	}
	kerneltest.Connect(both[0].host, "e0", "192.0.2.1/24", both[1].host, "e0", "192.0.2.2/24")
	return both[0], both[1]
}

// spec is the tunnel of a node.
func (n *node) spec() kernel.TunnelSpec {
	return kernel.TunnelSpec{
		Device: "flannel0", Alias: kernel.Mark + "test", MTU: 1472, Lanes: 2,
		Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.5.%d.0/16", n.n))},
		Bind:  netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:8285", n.n)),
	}
}

// run has the transport carry the node's packets until the test ends.
func (n *node) run() *node {
	n.t.Helper()
	log := slog.New(slog.NewTextHandler(n.t.Output(), nil))
	var host *link.Host
	var tunnel kernel.Tunnel
	n.host.MustDo(func() (err error) {
		if host, err = link.Open(nil, log); err != nil {
			return err
		}
		tunnel, err = tun.New(host, log).OpenTunnel(n.t.Context(), n.spec())
		return err
	})
	peer := byte(3 - n.n)
	table := new(Table)
	err := table.Set(Peer{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, peer, 0}), 24), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, peer}), 8285)})
	if err == nil {
		n.tr, err = New(tunnel, table, n.spec().Addrs[0].Addr(), log)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.tr.SetLocal(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, byte(n.n), 0}), 24))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.tr.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		if err := tunnel.Close(); err != nil {
			n.t.Error(err)
		}
		if err := host.Close(); err != nil {
			n.t.Error(err)
		}
	})
	return n
}

// much is enough bytes for all that a stream meets.
const much = 24 << 20

// stream sends so many bytes from one container to the other, and checks that they
// arrive.
func stream(t *testing.T, from, to *node, much int) {
	t.Helper()
	var l net.Listener
	to.box.MustDo(func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:0")
		return err
	})
	defer l.Close()
	sums := make(chan [sha256.Size]byte, 1)
	go func() {
		var sum [sha256.Size]byte
		if c, err := l.Accept(); err == nil {
			h := sha256.New()
			io.Copy(h, c)
			c.Close()
			copy(sum[:], h.Sum(nil))
		}
		sums <- sum
	}()
	data := make([]byte, much)
	for i := range data {
		data[i] = byte(i>>16 + i*31)
	}
	from.box.MustDo(func() error {
		c, err := net.DialTimeout("tcp4", fmt.Sprintf("10.5.%d.2:%d", to.n, l.Addr().(*net.TCPAddr).Port), 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(data)
		return err
	})
	if got := <-sums; got != sha256.Sum256(data) {
		t.Error("the stream is another")
	}
}

// echo sends datagrams of so many bytes to the other container and back.
func echo(t *testing.T, from, to *node, sizes ...int) {
	t.Helper()
	var far net.PacketConn
	var near net.Conn
	to.box.MustDo(func() (err error) {
		far, err = net.ListenPacket("udp4", "0.0.0.0:0")
		return err
	})
	defer far.Close()
	from.box.MustDo(func() (err error) {
		near, err = net.Dial("udp4", fmt.Sprintf("10.5.%d.2:%d", to.n, far.LocalAddr().(*net.UDPAddr).Port))
		return err
	})
	defer near.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := far.ReadFrom(b)
			if err != nil {
				return
			}
			far.WriteTo(b[:n], from)
		}
	}()
	got := make([]byte, 65536)
	for _, size := range sizes {
		want := payload(size)
		if _, err := near.Write(want); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		near.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := near.Read(got); err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("%d bytes: %d came back, %v", size, n, err)
		}
	}
}

// every is all sizes of datagrams that go in one packet, and some that do not.
func every() (sizes []int) {
	for n := range 1445 {
		sizes = append(sizes, n)
	}
	return append(sizes, 1445, 2000, 2888, 9000, 60000)
}

// TestBetweenHosts: containers of two hosts reach each other, by all that the
// kernel has.
func TestBetweenHosts(t *testing.T) {
	t.Parallel()
	a, b := wire(t)
	a.run()
	b.run()
	stream(t, a, b, much)
	stream(t, b, a, much)
	c := b.tr.Traffic().Carried
	for _, n := range []*node{a, b} {
		if c := n.tr.Traffic(); c.Carried[refusals] != 0 || c.Dropped[Failed.String()] != 0 || c.Dropped[overflow] != 0 {
			t.Errorf("node %d: %v", n.n, c)
		}
	}
	if c[ReceivedBytes.String()] < 24<<20 {
		t.Errorf("it did not go this way: %v", c)
	}
	echo(t, a, b, every()...)
	burst(t, a, b)
	a.box.Run("ping", "-c1", "-W5", "-Mdo", "-s1444", "10.5.2.2")

	for ttl, from := range map[string]string{"1": "10.5.1.1", "2": "10.5.1.0", "3": "10.5.2.0", "4": "10.5.2."} {
		if out, err := a.box.Try("ping", "-c1", "-W5", "-t"+ttl, "10.5.2.2"); err == nil || !strings.Contains(out, "From "+from) || !strings.Contains(out, "Time to live exceeded") {
			t.Errorf("TTL %s: %s", ttl, out)
		}
	}
	a.box.Run("ping", "-c1", "-W5", "-t5", "10.5.2.2")
	if out, err := a.box.Try("ping", "-c1", "-W5", "10.5.9.9"); err == nil || !strings.Contains(out, "From 10.5.1.0") || !strings.Contains(out, "Net Unreachable") {
		t.Errorf("no route: %s", out)
	}
}

// burst sends many datagrams by few calls (UDP_SEGMENT of udp(7)), which all
// arrive, each for itself.
func burst(t *testing.T, from, to *node) {
	t.Helper()
	var far *net.UDPConn
	to.box.MustDo(func() (err error) {
		if far, err = net.ListenUDP("udp4", nil); err != nil {
			return err
		}
		return far.SetReadBuffer(1 << 20) // or as much as it may be
	})
	defer far.Close()
	const size, each, times = 700, 40, 3 // as much as that holds
	from.box.MustDo(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, size); err != nil {
			return err
		}
		for i := range times {
			b := bytes.Repeat([]byte{byte(i)}, size*each-i) // the last one is shorter
			if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 5, byte(to.n), 2}, Port: far.LocalAddr().(*net.UDPAddr).Port}); err != nil {
				return err
			}
		}
		return nil
	})
	b := make([]byte, 2048)
	for i := range times * each {
		far.SetReadDeadline(time.Now().Add(10 * time.Second))
		want := size
		if i%each == each-1 {
			want -= i / each
		}
		if n, err := far.Read(b); err != nil || n != want || b[0] != byte(i/each) {
			t.Fatalf("datagram %d: %d bytes of %d, %v", i, n, b[0], err)
		}
	}
}

// TestASmallerPath: the path to the other host takes less than the device says.
func TestASmallerPath(t *testing.T) {
	t.Parallel()
	a, b := wire(t)
	a.run()
	b.run()
	a.host.Run("ip", "route", "add", "192.0.2.2/32", "dev", "e0", "mtu", "1400")
	if out, err := a.box.Try("ping", "-c1", "-W5", "-Mdo", "-s1400", "10.5.2.2"); err == nil || !strings.Contains(out, "From 10.5.1.0") || !strings.Contains(out, "mtu = 1372") {
		t.Errorf("too big: %s", out)
	}
	if out := a.box.Run("ip", "route", "get", "10.5.2.2"); !strings.Contains(out, "mtu 1372") {
		t.Errorf("the container has not learned it: %s", out)
	}
	a.box.Run("ip", "route", "flush", "cache")
	a.box.Run("ping", "-c1", "-W5", "-Mdont", "-s1400", "10.5.2.2")
	if a.tr.Traffic().Carried[Fragmented.String()] == 0 {
		t.Error("nothing was fragmented")
	}
	a.box.Run("ip", "route", "flush", "cache")
	stream(t, a, b, much)
	if c := a.tr.Traffic(); c.Dropped[TooBig.String()] < 2 || c.Carried[refusals] != 0 {
		t.Errorf("%v", c)
	}
}

// TestAPeerThatIsPlain: the other end knows nothing of offloads, and has one
// packet a datagram.
func TestAPeerThatIsPlain(t *testing.T) {
	t.Parallel()
	a, b := wire(t)
	a.run()
	plain(b)
	stream(t, a, b, much)
	stream(t, b, a, much)
	echo(t, a, b, every()...)
	a.box.Run("ping", "-c1", "-W5", "-Mdo", "-s1444", "10.5.2.2")
}

// plain forwards a node's packets one by one, until the test ends.
func plain(n *node) {
	n.t.Helper()
	var device int
	var socket *net.UDPConn
	n.host.MustDo(func() (err error) {
		if device, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("flannel0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(device, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		socket, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(n.spec().Bind))
		return err
	})
	n.host.Run("ip", "addr", "add", n.spec().Addrs[0].String(), "dev", "flannel0")
	n.host.Run("ip", "link", "set", "flannel0", "up", "mtu", "1472")
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(3 - n.n)}), 8285)
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for b := make([]byte, 65536); ; {
			k, err := unix.Read(device, b)
			if err != nil {
				return
			}
			if header(b[:k]) != 0 {
				socket.WriteToUDPAddrPort(b[:k], to)
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for b := make([]byte, 65536); ; {
			k, err := socket.Read(b)
			if err != nil {
				return
			}
			unix.Write(device, b[:k])
		}
	}()
	n.t.Cleanup(func() {
		socket.Close()
		n.host.Run("ip", "link", "del", "flannel0") // which ends the read
		<-done
		<-done
		unix.Close(device)
	})
}
