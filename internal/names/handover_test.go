package names

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catenet/catenet"
)

// TestHandOver has one resolver take over from another while a query waits for
// upstream, by UDP and by TCP, and one has come in part. Each is answered once,
// and so is what comes after.
func TestHandOver(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{false, true} {
		var awake atomic.Bool
		up := upstreamServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
			if awake.Load() {
				answering("@ 0 IN A 203.0.113.7")(w, q)
			}
		})
		n := testNames(t, up)
		fill(t, n)
		sb := Sandbox{ID: "s", Networks: []string{"N1"}}
		server := serve(t, n, sb)

		udp, tcp, idle := connect(t, "udp", server), connect(t, "tcp", server), connect(t, "tcp", server)
		write(t, udp, question("by.udp.example", dns.TypeA))
		write(t, tcp, question("by.tcp.example", dns.TypeA))
		whole, err := question("web", dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		whole = appendFrame(nil, whole)
		if _, err := tcp.Conn.Write(whole[:9]); err != nil {
			t.Fatal(err)
		}
		for up.queries.Load() < 2 { // both are on their way
			time.Sleep(time.Millisecond)
		}
		handed := n.HandOver()
		awake.Store(true)
		if err := n.Serve(Sandbox{ID: "t"}, new(net.UDPConn), new(net.TCPListener)); catenet.KindOf(err) != catenet.KindUnavailable {
			t.Errorf("served after the hand-over: %v", err)
		}
		if back {
			n.TakeBack(handed)
		} else {
			n.mu.Lock()
			clear(n.sandboxes) // the sockets of this one would be copies, in another process
			n.mu.Unlock()
			next := testNames(t, up)
			fill(t, next)
			next.Inherit(handed)
			if port, err := next.Resume(sb); err != nil || port == 0 {
				t.Fatalf("resume at port %d: %v", port, err)
			}
			if port, err := next.Resume(sb); err != nil || port != 0 {
				t.Errorf("resumed once more at port %d: %v", port, err)
			}
		}
		if _, err := tcp.Conn.Write(whole[9:]); err != nil {
			t.Fatal(err)
		}
		if got := answered(t, udp, 1); !slices.Equal(got, []string{"by.udp.example."}) {
			t.Errorf("taken back %v: by UDP came answers for %v", back, got)
		}
		if got := answered(t, tcp, 2); !slices.Equal(got, []string{"by.tcp.example.", "web."}) {
			t.Errorf("taken back %v: by TCP came answers for %v", back, got)
		}
		for _, c := range []*dns.Conn{udp, tcp, idle, connect(t, "udp", server), connect(t, "tcp", server)} {
			write(t, c, question("db", dns.TypeA))
			answered(t, c, 1)
		}
	}
}

// TestNobodyResumes: what was handed over is closed in the end.
func TestNobodyResumes(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	server := serve(t, n, Sandbox{ID: "s"})
	handed := n.HandOver()
	next := testNames(t)
	next.Inherit(handed)
	next.Disinherit()
	if c, err := net.ListenPacket("udp4", server); err != nil {
		t.Errorf("the port is held: %v", err)
	} else {
		c.Close()
	}
}

func connect(t *testing.T, network, server string) *dns.Conn {
	t.Helper()
	c, err := dns.Dial(network, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, c *dns.Conn, m *dns.Msg) {
	t.Helper()
	if err := c.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
}

// answered reads n answers, and returns what they are for, sorted.
func answered(t *testing.T, c *dns.Conn, n int) (all []string) {
	t.Helper()
	for range n {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatalf("after %v: %v", all, err)
		}
		if len(m.Answer) != 1 {
			t.Errorf("the answer is %v", m)
		}
		all = append(all, m.Question[0].Name)
	}
	slices.Sort(all)
	return all
}
