package tun

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/link"
)

// site is a host, joined to another one by a wire.
type site struct {
	t         *testing.T
	ns, other *kerneltest.NS
	host      *link.Host
	tunnels   *Tunnels
	said      bytes.Buffer
	spec      kernel.TunnelSpec
	far       *net.UDPConn // at the other host
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, ns: kerneltest.New(t), other: kerneltest.New(t)}
	kerneltest.Connect(s.ns, "e0", "192.0.2.1/24", s.other, "e0", "192.0.2.2/24")
	s.ns.MustDo(func() (err error) {
		s.host, err = link.Open(nil, nil)
		return err
	})
	s.other.MustDo(func() (err error) {
		s.far, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 8285})
		return err
	})
	t.Cleanup(func() {
		s.far.Close()
		if err := s.host.Close(); err != nil {
			t.Error(err)
		}
	})
	s.tunnels = New(s.host, slog.New(slog.NewTextHandler(&s.said, nil)))
	s.spec = kernel.TunnelSpec{
		Device: "flannel0", Alias: kernel.Mark + "n1", MTU: 1472, Lanes: 2,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.5.1.0/16")}, Bind: netip.MustParseAddrPort("192.0.2.1:8285"),
	}
	return s
}

// try opens a tunnel.
func (s *site) try(spec kernel.TunnelSpec) (tunnel kernel.Tunnel, err error) {
	_ = s.ns.Do(func() error {
		tunnel, err = s.tunnels.OpenTunnel(s.t.Context(), spec)
		return nil
	})
	return tunnel, err
}

// open opens one that is closed with the test.
func (s *site) open(spec kernel.TunnelSpec) kernel.Tunnel {
	s.t.Helper()
	tunnel, err := s.try(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := tunnel.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return tunnel
}

func (s *site) link() string { return s.ns.Run("ip", "-d", "addr", "show", "dev", "flannel0") }

// TestTheDeviceOutlivesItsOpener, its routes too, and is whose it was.
func TestTheDeviceOutlivesItsOpener(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, err := s.try(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	s.ns.Run("ip", "route", "add", "10.9.0.0/16", "dev", "flannel0")
	before := s.link()
	for _, want := range []string{"mtu 1472", "UP", "10.5.1.0/16", "alias catenet:n1", "tun type tun", "persist on", "multi_queue", "vnet_hdr on"} {
		if !strings.Contains(before, want) {
			t.Errorf("no %q in %s", want, before)
		}
	}
	if got := s.ns.Run("cat", "/proc/sys/net/ipv4/conf/flannel0/accept_local"); got != "1\n" {
		t.Errorf("accept_local is %s", got)
	}
	if !first.Segments(kernel.SegmentTCP) || !first.Segments(kernel.SegmentUDP) {
		t.Error("this kernel has all offloads, and they are not used")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(s.spec)
	if index, _, _ := strings.Cut(before, ":"); !strings.HasPrefix(s.link(), index+":") || !strings.Contains(s.link(), "10.5.1.0/16") {
		t.Errorf("it was\n%s\nand is\n%s", before, s.link())
	}
	if routes := s.ns.Run("ip", "route"); !strings.Contains(routes, "10.9.0.0/16 dev flannel0") {
		t.Errorf("routes: %s", routes)
	}
}

// TestWhatIsTaken or cannot be leaves nothing, and nothing of others is touched.
func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	edit := func(f func(*kernel.TunnelSpec)) kernel.TunnelSpec {
		spec := s.spec
		f(&spec)
		return spec
	}
	for name, c := range map[string]struct {
		spec kernel.TunnelSpec
		is   func(error) bool
	}{
		"no name":           {edit(func(k *kernel.TunnelSpec) { k.Device = "" }), catenet.IsInvalid},
		"a long name":       {edit(func(k *kernel.TunnelSpec) { k.Device = "a-name-too-long-" }), catenet.IsInvalid},
		"a small MTU":       {edit(func(k *kernel.TunnelSpec) { k.MTU = 67 }), catenet.IsInvalid},
		"no lanes":          {edit(func(k *kernel.TunnelSpec) { k.Lanes = 0 }), catenet.IsInvalid},
		"no port":           {edit(func(k *kernel.TunnelSpec) { k.Bind = netip.MustParseAddrPort("192.0.2.1:0") }), catenet.IsInvalid},
		"IPv6":              {edit(func(k *kernel.TunnelSpec) { k.Bind = netip.MustParseAddrPort("[::1]:8285") }), catenet.IsInvalid},
		"another's address": {edit(func(k *kernel.TunnelSpec) { k.Bind = netip.MustParseAddrPort("192.0.2.2:8285") }), catenet.IsInvalid},
	} {
		if _, err := s.try(c.spec); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
		if out, err := s.ns.Try("ip", "link", "show", "flannel0"); err == nil {
			t.Errorf("%s: there is %s", name, out)
		}
	}
	s.open(s.spec)
	if _, err := s.try(edit(func(k *kernel.TunnelSpec) { k.Device = "flannel1" })); !catenet.IsConflict(err) || !strings.HasSuffix(err.Error(), "is taken by another network of this daemon") {
		t.Errorf("one port, twice: %v", err)
	}
	s.ns.Run("ip", "tuntap", "add", "theirs0", "mode", "tun", "multi_queue", "vnet_hdr")
	s.ns.Run("ip", "link", "add", "theirs1", "type", "bridge")
	other := netip.MustParseAddrPort("192.0.2.1:8286")
	for _, name := range []string{"theirs0", "theirs1", "flannel0"} {
		before := s.ns.Run("ip", "-d", "addr", "show", "dev", name)
		if _, err := s.try(edit(func(k *kernel.TunnelSpec) { k.Device, k.Bind, k.Alias = name, other, kernel.Mark+"n2" })); !catenet.IsConflict(err) {
			t.Errorf("%s: %v", name, err)
		}
		if after := s.ns.Run("ip", "-d", "addr", "show", "dev", name); after != before {
			t.Errorf("%s was\n%s\nand is\n%s", name, before, after)
		}
	}
}

// TestTrains: what is sent together arrives apart, in order, to whomever.
func TestTrains(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	l := s.open(s.spec).Lanes()[0].(*lane)
	to := netip.MustParseAddrPort("192.0.2.2:8285")
	ahead, rest := []byte("ab"), bytes.Repeat([]byte("c"), 98)
	trains := []kernel.Train{
		{To: to, Size: 100, Parts: [][]byte{ahead, rest, ahead, rest, ahead, rest[:50]}},
		{To: to, Size: 7, Parts: [][]byte{rest[:7]}},
		{To: to, Size: 3, Parts: [][]byte{rest[:3], nil, rest[:3]}},
	}
	if n, err := l.Send(trains); n != 3 || err != nil {
		t.Fatalf("%d sent, %v", n, err)
	}
	s.arrive(100, 100, 52, 7, 3, 3)

	// The kernel refuses a train that is too long, whose datagrams go one by
	// one then; so do the next ones, for a while.
	long := kernel.Train{To: to, Size: 10, Parts: [][]byte{bytes.Repeat([]byte("d"), 10)}}
	for len(long.Parts) < 150 {
		long.Parts = append(long.Parts, long.Parts[0])
	}
	if n, err := l.Send([]kernel.Train{long}); n != 1 || err != nil {
		t.Fatalf("%d sent, %v", n, err)
	}
	all := make([]int, 150)
	for i := range all {
		all[i] = 10
	}
	s.arrive(all...)
	if l.tunnel.Refused() != 1 || !l.spared(to) || !strings.Contains(s.said.String(), "segmentation") {
		t.Errorf("refused %d times: %s", l.tunnel.Refused(), s.said.String())
	}
	if n, err := l.Send(trains); n != 3 || err != nil {
		t.Fatalf("%d sent, %v", n, err)
	}
	s.arrive(100, 100, 52, 7, 3, 3)
	l.plain[to] = time.Now().Add(-2 * again)
	if l.spared(to) {
		t.Error("it is never tried again")
	}
}

// arrive checks that datagrams of these sizes arrive.
func (s *site) arrive(sizes ...int) {
	s.t.Helper()
	b := make([]byte, 2048)
	for i, want := range sizes {
		s.far.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := s.far.Read(b); err != nil || n != want {
			s.t.Fatalf("datagram %d has %d bytes, not %d; %v", i, n, want, err)
		}
	}
}

// TestWhyNotSent: what is about a path is told apart, and keeps no train behind
// it from being sent.
func TestWhyNotSent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tunnel := s.open(s.spec)
	lane := tunnel.Lanes()[0]
	s.ns.Run("ip", "route", "add", "192.0.2.3/32", "dev", "e0", "mtu", "1000")
	s.ns.Run("ip", "route", "add", "unreachable", "192.0.2.4/32")
	s.ns.Run("ip", "route", "add", "prohibit", "192.0.2.5/32")
	data := bytes.Repeat([]byte("x"), 1400)
	train := func(host string, size int) kernel.Train {
		return kernel.Train{To: netip.MustParseAddrPort(host + ":8285"), Size: size, Parts: [][]byte{data[:size], data[:size]}}
	}
	good := train("192.0.2.2", 1400)
	for _, c := range []struct {
		train kernel.Train
		is    error
	}{
		{train("192.0.2.3", 1400), kernel.ErrTooBig},
		{train("192.0.2.3", 973), kernel.ErrTooBig},
		{train("192.0.2.4", 10), kernel.ErrUnreachable},
		{train("198.51.100.1", 10), kernel.ErrUnreachable},
		{train("192.0.2.5", 10), unix.EACCES},
	} {
		n, err := lane.Send([]kernel.Train{good, c.train, good})
		if n != 1 || !errors.Is(err, c.is) {
			t.Errorf("%v: %d, %v", c.train.To, n, err)
		}
		s.arrive(1400, 1400)
	}
	for host, want := range map[string]int{"192.0.2.2": 1500, "192.0.2.3": 1000} {
		if mtu, err := tunnel.PathMTU(netip.MustParseAddr(host)); err != nil || mtu != want {
			t.Errorf("the path to %s takes %d, %v", host, mtu, err)
		}
	}
	if _, err := tunnel.PathMTU(netip.MustParseAddr("198.51.100.1")); err == nil {
		t.Error("there is no path to 198.51.100.1")
	}
	if tunnel.Refused() != 0 {
		t.Errorf("taken for a refusal: %d", tunnel.Refused())
	}
}

// five has the other host send five datagrams at once, of 450 bytes, and returns what
// arrives.
func (s *site) five(lane kernel.Lane) (int, []kernel.Arrival) {
	s.t.Helper()
	raw, err := s.far.SyscallConn()
	if err != nil {
		s.t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 100) }); cerr != nil || err != nil {
		s.t.Fatal(cerr, err)
	}
	if _, err := s.far.WriteToUDPAddrPort(make([]byte, 450), s.spec.Bind); err != nil {
		s.t.Fatal(err)
	}
	arrivals := make([]kernel.Arrival, 5)
	for i := range arrivals {
		arrivals[i].Data = make([]byte, kernel.MaxPacket)
	}
	if _, datagrams, err := lane.Wait(); err != nil || !datagrams {
		s.t.Fatalf("%v, %v", datagrams, err)
	}
	n, err := lane.Receive(arrivals)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, arrivals
}

// TestWhatArrives comes with who sent it; what was sent together, together.
func TestWhatArrives(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	spec := s.spec
	spec.Lanes = 1
	lane := s.open(spec).Lanes()[0]
	n, arrivals := s.five(lane)
	if a := arrivals[0]; n != 1 || a.From != netip.MustParseAddrPort("192.0.2.2:8285") || a.Size != 100 || len(a.Data) != 450 {
		t.Errorf("%d: from %v %d bytes by %d", n, a.From, len(a.Data), a.Size)
	}
	if n, err := lane.Receive(arrivals); n != 0 || err != nil {
		t.Errorf("nothing more: %d, %v", n, err)
	}
	if p, _, err := lane.Read(make([]byte, kernel.ReadRoom)); len(p) != 0 || err != nil {
		t.Errorf("the host has sent nothing: % x, %v", p, err)
	}
}

// TestTheEnd: of the device, and of waiting.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tunnel := s.open(s.spec)
	lanes := tunnel.Lanes()
	s.ns.MustDo(func() error { return s.host.DeleteLinks(t.Context(), "flannel0") })
	if packets, _, err := lanes[0].Wait(); !packets || err != nil {
		t.Errorf("the device is gone: %v, %v", packets, err)
	}
	if _, _, err := lanes[0].Read(make([]byte, kernel.ReadRoom)); !catenet.IsNotFound(err) {
		t.Errorf("read: %v", err)
	}
	if err := lanes[1].Write([][]byte{{0x45}}, kernel.Offload{}); !catenet.IsNotFound(err) {
		t.Errorf("write: %v", err)
	}
	ended := make(chan error)
	for _, l := range lanes {
		go func() {
			for {
				if _, _, err := l.Wait(); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	tunnel.Interrupt()
	for range lanes {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// TestTooMuchAtOnce: what finds the socket full is counted, until the tunnel is
// closed.
func TestTooMuchAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tunnel, err := s.try(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	if n := tunnel.Overflown(); n != 0 {
		t.Errorf("at first %d", n)
	}
	b := make([]byte, 1400)
	for range 40000 {
		if _, err := s.far.WriteToUDPAddrPort(b, s.spec.Bind); err != nil {
			t.Fatal(err)
		}
	}
	if n := tunnel.Overflown(); n < 10000 {
		t.Errorf("of 56 MB %d datagrams were too many", n)
	}
	if err := tunnel.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tunnel.Overflown(); n != 0 {
		t.Errorf("closed: %d", n)
	}
}
