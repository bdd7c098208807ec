package names

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// testNames returns a resolver whose host has the given upstream servers,
// each an address of the outside with the real one that stands for it.
func testNames(t testing.TB, upstreams ...*fakeServer) *Names {
	t.Helper()
	var conf strings.Builder
	d := &mapDialer{to: map[string]string{}}
	for i, u := range upstreams {
		addr := fmt.Sprintf("192.0.2.%d", i+1)
		fmt.Fprintf(&conf, "nameserver %s\n", addr)
		d.to[addr+":53"] = u.addr
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	n := New(Options{Log: quiet(), ResolvConf: path, StubResolvConf: path + "-none", Dialer: d})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// mapDialer sends what is meant for one address to another, and counts.
type mapDialer struct {
	to    map[string]string
	dials atomic.Int64
}

func (d *mapDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d.dials.Add(1)
	real, ok := d.to[addr]
	if !ok {
		return nil, fmt.Errorf("no route to %s", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

// serve makes n serve a sandbox and returns the address of its resolver.
func serve(t testing.TB, n *Names, sb Sandbox) string {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp4", pc.LocalAddr().String())
		if err != nil { // the port is free for UDP alone
			pc.Close()
			continue
		}
		if err := n.Serve(sb, pc, ln); err != nil {
			t.Fatal(err)
		}
		return pc.LocalAddr().String()
	}
	t.Fatal("no port is free for UDP and TCP")
	return ""
}

// ask sends one query and returns the answer.
func ask(t testing.TB, network, server string, m *dns.Msg) *dns.Msg {
	t.Helper()
	r, _, err := (&dns.Client{Net: network, Timeout: 6 * time.Second, UDPSize: 4096}).Exchange(m, server)
	if err != nil {
		t.Fatalf("%v by %s: %v", m.Question, network, err)
	}
	return r
}

func question(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

// data returns an answer as "NOERROR a b": the code and each record's data,
// sorted as they came.
func data(r *dns.Msg) string {
	s := dns.RcodeToString[r.Rcode]
	if r.Truncated {
		s += " TC"
	}
	for _, rr := range r.Answer {
		s += " " + strings.TrimPrefix(rr.String(), rr.Header().String())
	}
	return s
}

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

// fakeServer is an upstream server with manners to choose.
type fakeServer struct {
	addr    string
	queries atomic.Int64
	tcp     atomic.Int64

	mu    sync.Mutex
	last  *dns.Msg
	ports map[string]bool // that queries came from
	ids   map[uint16]bool
}

// upstreamServer runs a server, on UDP and TCP, that answers with h.
func upstreamServer(t testing.TB, h func(dns.ResponseWriter, *dns.Msg)) *fakeServer {
	t.Helper()
	f := &fakeServer{ports: map[string]bool{}, ids: map[uint16]bool{}}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		f.queries.Add(1)
		if w.RemoteAddr().Network() == "tcp" {
			f.tcp.Add(1)
		}
		f.mu.Lock()
		f.last = m.Copy()
		f.ports[w.RemoteAddr().String()] = true
		f.ids[m.Id] = true
		f.mu.Unlock()
		h(w, m)
	})
	var pc net.PacketConn
	var ln net.Listener
	for range 20 {
		var err error
		if pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if ln, err = net.Listen("tcp4", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
	}
	if ln == nil {
		t.Fatal("no port is free for UDP and TCP")
	}
	f.addr = pc.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := s.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		}()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
	return f
}

// answering returns a handler that answers every question with these records,
// in zone-file form, where "@" stands for the name asked for.
func answering(records ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) { w.WriteMsg(replyTo(m, records...)) }
}

func replyTo(m *dns.Msg, records ...string) *dns.Msg {
	r := new(dns.Msg).SetReply(m)
	r.RecursionAvailable = true
	for _, s := range records {
		rr, err := dns.NewRR(strings.ReplaceAll(s, "@", m.Question[0].Name))
		if err != nil {
			panic(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			r.Ns = append(r.Ns, rr)
		} else {
			r.Answer = append(r.Answer, rr)
		}
	}
	return r
}

func refusing(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(m, rcode)) }
}

func silent(dns.ResponseWriter, *dns.Msg) {}

func catenetAddrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
