package flows

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// world is a client, a host that leads ports on, and a container with two
// addresses of each family, .2 and .3.
type world struct {
	t                 *testing.T
	client, host, ctr *kerneltest.NS
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t, kerneltest.New(t), kerneltest.New(t), kerneltest.New(t)}
	kerneltest.Connect(w.client, "e0", "198.51.100.2/24", w.host, "e0", "198.51.100.1/24")
	kerneltest.Connect(w.host, "c0", "192.0.2.1/24", w.ctr, "e0", "192.0.2.2/24")
	w.client.Run("ip", "addr", "add", "2001:db8:1::2/64", "dev", "e0", "nodad")
	w.host.Run("ip", "addr", "add", "2001:db8:1::1/64", "dev", "e0", "nodad")
	w.host.Run("ip", "addr", "add", "2001:db8:2::1/64", "dev", "c0", "nodad")
	w.ctr.Run("ip", "addr", "add", "192.0.2.3/24", "dev", "e0")
	for _, a := range []string{"2001:db8:2::2/64", "2001:db8:2::3/64"} {
		w.ctr.Run("ip", "addr", "add", a, "dev", "e0", "nodad")
	}
	w.ctr.Run("ip", "route", "add", "default", "via", "192.0.2.1")
	w.ctr.Run("ip", "route", "add", "default", "via", "2001:db8:2::1")
	w.host.Run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	return w
}

// lead has the host lead its port 8080 and 8081 to port 80 of one address.
func (w *world) lead(v4, v6 string) {
	w.t.Helper()
	rules := fmt.Sprintf(`table inet t
delete table inet t
table inet t {
chain c {
	type nat hook prerouting priority dstnat
	meta l4proto { tcp, udp } ip daddr 198.51.100.1 th dport { 8080, 8081 } dnat ip to %s:80
	meta l4proto { tcp, udp } ip6 daddr 2001:db8:1::1 th dport { 8080, 8081 } dnat ip6 to [%s]:80
}
}`, v4, v6)
	cmd := w.host.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// serve answers UDP with the address that was reached, and every line of a
// TCP connection likewise.
func (w *world) serve(addr string) {
	w.t.Helper()
	w.ctr.MustDo(func() error {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		w.t.Cleanup(func() {
			pc.Close()
			l.Close()
		})
		go func() {
			b := make([]byte, 100)
			for {
				_, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				pc.WriteTo([]byte(addr+"\n"), from)
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				w.t.Cleanup(func() { c.Close() })
				go func() {
					for s := bufio.NewScanner(c); s.Scan(); {
						fmt.Fprintln(c, addr)
					}
				}()
			}
		}()
		return nil
	})
}

// dial connects from the client.
func (w *world) dial(network, addr string) net.Conn {
	w.t.Helper()
	var c net.Conn
	w.client.MustDo(func() (err error) {
		c, err = net.Dial(network, addr)
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	return c
}

// track has the host know a connection of a client's port to the same one of its
// own, which is answered from port 80.
func (w *world) track(client, host, port, to string, proto ...string) {
	w.t.Helper()
	w.host.Run("conntrack", append(append([]string{"-I"}, proto...), "-t", "100", "-s", client, "-d", host, "-r", to, "-q", client,
		"--orig-port-src", port, "--orig-port-dst", port, "--reply-port-src", "80", "--reply-port-dst", port)...)
}

// ask returns who answers, or "".
func ask(c net.Conn) string {
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintln(c, "who"); err != nil {
		return ""
	}
	s, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

func (w *world) forget(ports ...kernel.Flow) {
	w.t.Helper()
	w.host.MustDo(func() error { return New().Forget(context.Background(), ports) })
}

func port(proto, at, to string) kernel.Flow {
	a := netip.MustParseAddrPort(at)
	return kernel.Flow{LoopbackPort: kernel.LoopbackPort{Proto: proto, IP: a.Addr(), Port: a.Port(), To: netip.MustParseAddrPort(to)}}
}

// of is a flow of one client's.
func of(client string, f kernel.Flow) kernel.Flow {
	f.From = netip.MustParseAddr(client)
	return f
}

const (
	old4, new4 = "192.0.2.2:80", "192.0.2.3:80"
	old6, new6 = "[2001:db8:2::2]:80", "[2001:db8:2::3]:80"
)

// TestForget: what goes on as it was shows what is remembered. The kernel is
// asked for a few flows by a filter, for many by a listing.
func TestForget(t *testing.T) {
	t.Run("few", func(t *testing.T) { forgets(t) })
	var others []kernel.Flow // that nobody has
	for i := range uint16(50) {
		others = append(others, port("udp", fmt.Sprintf("198.51.100.9:%d", 9000+i), old4))
	}
	t.Run("many", func(t *testing.T) { forgets(t, others...) })
}

func forgets(t *testing.T, more ...kernel.Flow) {
	w := newWorld(t)
	for _, a := range []string{old4, new4, old6, new6} {
		w.serve(a)
	}
	w.lead("192.0.2.2", "2001:db8:2::2")
	type client struct {
		conn       net.Conn
		name       string
		was, after string // who answers
	}
	var clients []*client
	for _, proto := range []string{"udp", "tcp"} {
		for _, host := range []string{"198.51.100.1", "2001:db8:1::1"} {
			for _, n := range []string{"8080", "8081"} {
				c := &client{conn: w.dial(proto, net.JoinHostPort(host, n)), name: proto + " " + host + " " + n, was: old4}
				if strings.Contains(host, ":") {
					c.was = old6
				}
				c.after = c.was
				if n == "8080" {
					// Forgotten: a datagram goes where the port leads now; a
					// connection is one that nobody knows.
					c.after = map[string]string{"udp" + old4: new4, "udp" + old6: new6}[proto+c.was]
				}
				clients = append(clients, c)
			}
		}
	}
	for _, c := range clients {
		if got := ask(c.conn); got != c.was {
			t.Fatalf("%s: %q answers, want %s", c.name, got, c.was)
		}
	}
	w.lead("192.0.2.3", "2001:db8:2::3")
	// Near misses: nothing of these is there.
	w.forget(append(more,
		port("udp", "198.51.100.1:8080", "192.0.2.2:81"), port("udp", "198.51.100.1:8080", new4),
		port("udp", "198.51.100.9:8080", old4), port("sctp", "198.51.100.1:8080", old4), port("udp", "198.51.100.1:80", old4),
		port("udp", "[::]:8080", old4), of("198.51.100.9", port("udp", "198.51.100.1:8080", old4)))...)
	for _, c := range clients {
		if got := ask(c.conn); got != c.was {
			t.Errorf("%s: after near misses %q answers, want %s", c.name, got, c.was)
		}
	}
	w.forget(append(more,
		port("udp", "0.0.0.0:8080", old4), of("198.51.100.2", port("tcp", "198.51.100.1:8080", old4)),
		port("udp", "[::]:8080", old6), port("tcp", "[2001:db8:1::1]:8080", old6))...)
	for _, c := range clients {
		if got := ask(c.conn); got != c.after {
			t.Errorf("%s: %q answers, want %q", c.name, got, c.after)
		}
	}
	w.forget()
}

// TestForgetMany forgets many connections of one port and of no other.
func TestForgetMany(t *testing.T) {
	w := newWorld(t)
	w.serve(old4)
	w.lead("192.0.2.2", "2001:db8:2::2")
	const n = 500
	for i := range 2 * n {
		c := w.dial("udp", fmt.Sprintf("198.51.100.1:%d", 8080+i%2))
		if _, err := fmt.Fprintln(c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	count := func(dport string) int {
		return strings.Count(w.host.Run("cat", "/proc/net/nf_conntrack"), "dport="+dport+" ")
	}
	w.host.MustDo(func() error {
		if all := tracked(); all < 2*n || all > 3*n {
			t.Errorf("%d connections are counted, of %d and a few", all, 2*n)
		}
		return nil
	})
	if got := count("8080"); got != n {
		t.Fatalf("%d connections are there, want %d", got, n)
	}
	w.forget(port("udp", "198.51.100.1:8080", old4))
	if a, b := count("8080"), count("8081"); a != 0 || b != n {
		t.Errorf("%d and %d connections are left, want 0 and %d", a, b, n)
	}
}

// TestTheKernelForgetsByItself has it do so, and to nobody else.
func TestTheKernelForgetsByItself(t *testing.T) {
	w := newWorld(t)
	w.serve(old4)
	w.lead("192.0.2.2", "2001:db8:2::2")
	for _, at := range []string{"198.51.100.1:8080", "198.51.100.1:8081"} {
		if got := ask(w.dial("udp", at)); got != old4 {
			t.Fatal(got)
		}
	}
	w.host.MustDo(func() error {
		conn, err := dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := flush(conn, port("udp", "0.0.0.0:8080", old4)); err != nil {
			return err
		}
		left, err := list(conn, listing{from: netip.MustParseAddr("192.0.2.2")})
		if err == nil && (len(left) != 1 || left[0].orig.dst.Port() != 8081) {
			err = fmt.Errorf("left: %v", left)
		}
		return err
	})
}

// TestForgetSCTP, which this kernel tracks, whether or not it speaks it.
func TestForgetSCTP(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"8080", "8081"} {
		sctp := []string{"-p", "sctp", "--state", "ESTABLISHED", "--orig-vtag", "1", "--reply-vtag", "2"}
		w.track("198.51.100.2", "198.51.100.1", n, "192.0.2.2", sctp...)
		w.track("2001:db8:1::2", "2001:db8:1::1", n, "2001:db8:2::2", sctp...)
	}
	w.forget(port("sctp", "0.0.0.0:8080", old4), port("sctp", "[::]:8080", old6))
	left := w.host.Run("cat", "/proc/net/nf_conntrack")
	if strings.Count(left, "sctp") != 2 || strings.Count(left, "dport=8080 ") != 0 {
		t.Errorf("left:\n%s", left)
	}
}

// TestListings: as many as are sooner than one of all.
func TestListings(t *testing.T) {
	flows := []kernel.Flow{
		port("udp", "0.0.0.0:1", old4), port("udp", "[::]:1", old6), port("udp", "[::]:2", old6), port("udp", "[::]:1", new6),
		port("tcp", "[::]:1", old6), port("udp", "[::]:1", "[2001:db8:2::2]:81"),
	}
	for all, want := range map[int]int{1999: 2, 2000: 4} {
		got := listings(flows, all)
		n := 0
		for _, w := range got {
			for _, b := range w {
				n += len(b)
			}
		}
		if len(got) != want || n != len(flows) {
			t.Errorf("among %d connections: %v", all, got)
		}
	}
}

func TestFew(t *testing.T) {
	for _, c := range []struct {
		flows, all int
		want       bool
	}{{40, 0, true}, {41, 0, false}, {20, 1000, true}, {2, 20_000, true}, {3, 20_000, false}, {1, 1 << 20, true}, {2, 1 << 20, false}} {
		if got := few(c.flows, c.all); got != c.want {
			t.Errorf("%d flows among %d connections: %v", c.flows, c.all, got)
		}
	}
}

// TestTheKernelFilters lists by an address or a port that answers nothing:
// nothing else comes.
func TestTheKernelFilters(t *testing.T) {
	w := newWorld(t)
	w.serve(old4)
	w.lead("192.0.2.2", "2001:db8:2::2")
	if got := ask(w.dial("udp", "198.51.100.1:8080")); got != old4 {
		t.Fatal(got)
	}
	w.track("2001:db8:1::2", "2001:db8:1::1", "8080", "2001:db8:2::2", "-p", "udp")
	w.host.MustDo(func() error {
		for l, want := range map[listing]int{
			{from: netip.MustParseAddr("192.0.2.2")}: 1, {from: netip.MustParseAddr("192.0.2.3")}: 0,
			{proto: 17, port: 80}: 1, {proto: 17, port: 8080}: 0, {proto: 6, port: 80}: 0, {}: 1,
		} {
			conn, err := dial()
			if err != nil {
				return err
			}
			got, err := list(conn, l)
			conn.Close()
			got = slices.DeleteFunc(got, func(c connection) bool { return c.orig.proto == 58 }) // neighbours
			if err != nil || len(got) != want {
				t.Errorf("%v: %v, %v, want %d", l, got, err, want)
			}
		}
		return nil
	})
}

func TestForgetEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.serve(old4)
	w.lead("192.0.2.2", "2001:db8:2::2")
	if got := ask(w.dial("udp", "198.51.100.1:8080")); got != old4 {
		t.Fatal(got)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	err := w.host.Do(func() error {
		return New().Forget(over, []kernel.Flow{port("udp", "0.0.0.0:8080", old4)})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := encodeList(listing{from: netip.MustParseAddr("192.0.2.2")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = encodeFlush(port("tcp", "192.0.2.1:8080", old4)); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(binary.NativeEndian.AppendUint16(header(2), 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err == nil && (len(c.key) < headerLen || len(c.key) > 2*len(b)+headerLen) {
			t.Errorf("%d bytes give a key of %d", len(b), len(c.key))
		}
	})
}
