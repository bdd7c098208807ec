package names

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/miekg/dns"
)

// outside serves a sandbox in one network that is not internal.
func outside(t testing.TB, n *Names) string {
	t.Helper()
	n.SetNetwork("N", "net", false)
	return serve(t, n, Sandbox{ID: "s", Networks: []string{"N"}})
}

// TestServersWithManners: what the client gets with bad servers before good
// ones. (How soon is a matter of TestRaceTimes.)
func TestServersWithManners(t *testing.T) {
	t.Parallel()
	good := answering("@ 60 IN A 192.0.2.80")
	noEDNS := func(w dns.ResponseWriter, m *dns.Msg) {
		if m.IsEdns0() != nil {
			r := new(dns.Msg)
			r.Id, r.Response, r.Rcode = m.Id, true, dns.RcodeFormatError
			w.WriteMsg(r)
			return
		}
		good(w, m)
	}
	truncating := func(w dns.ResponseWriter, m *dns.Msg) {
		r := replyTo(m, "@ 60 IN A 192.0.2.80")
		if w.RemoteAddr().Network() == "udp" {
			r.Answer, r.Truncated = nil, true
		}
		w.WriteMsg(r)
	}
	late := func(w dns.ResponseWriter, m *dns.Msg) {
		time.Sleep(time.Second)
		good(w, m)
	}
	lying := func(change func(*dns.Msg)) func(dns.ResponseWriter, *dns.Msg) {
		return func(w dns.ResponseWriter, m *dns.Msg) {
			lie := replyTo(m, "@ 60 IN A 203.0.113.66")
			change(lie)
			w.WriteMsg(lie)
			time.Sleep(20 * time.Millisecond)
			good(w, m)
		}
	}
	garbage := func(w dns.ResponseWriter, m *dns.Msg) {
		b := make([]byte, 12, 14)
		binary.BigEndian.PutUint16(b, m.Id)
		b[2], b[5], b[7] = 0x80, 1, 9
		w.Write(b)
		packed, err := replyTo(m, "@ 60 IN A 203.0.113.66").Pack()
		if err != nil {
			panic(err)
		}
		w.Write(packed[:len(packed)-2])
		good(w, m)
	}
	elsewhere := func(w dns.ResponseWriter, m *dns.Msg) {
		if w.RemoteAddr().Network() == "udp" { // the right answer in all but where it comes from
			c, err := net.Dial("udp4", w.RemoteAddr().String())
			if err != nil {
				panic(err)
			}
			defer c.Close()
			if err := (&dns.Conn{Conn: c}).WriteMsg(replyTo(m, "@ 60 IN A 203.0.113.66")); err != nil {
				panic(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		good(w, m)
	}
	small := func(byTCP bool) func(dns.ResponseWriter, *dns.Msg) {
		return func(w dns.ResponseWriter, m *dns.Msg) {
			if w.RemoteAddr().Network() == "tcp" && !byTCP {
				w.Close()
				return
			}
			r := replyTo(m, "@ 60 IN A 192.0.2.80")
			r.Question[0].Name = strings.ToLower(r.Question[0].Name)
			w.WriteMsg(r)
		}
	}
	for name, tc := range map[string]struct {
		servers []func(dns.ResponseWriter, *dns.Msg)
		want    string
	}{
		"small letters":         {[]func(dns.ResponseWriter, *dns.Msg){small(true)}, "NOERROR 192.0.2.80"},
		"small letters, no TCP": {[]func(dns.ResponseWriter, *dns.Msg){small(false)}, "NOERROR 192.0.2.80"},
		"one":                   {[]func(dns.ResponseWriter, *dns.Msg){good}, "NOERROR 192.0.2.80"},
		"silent first":          {[]func(dns.ResponseWriter, *dns.Msg){silent, good}, "NOERROR 192.0.2.80"},
		"two silent":            {[]func(dns.ResponseWriter, *dns.Msg){silent, silent, good}, "NOERROR 192.0.2.80"},
		"SERVFAIL first":        {[]func(dns.ResponseWriter, *dns.Msg){refusing(dns.RcodeServerFailure), good}, "NOERROR 192.0.2.80"},
		"REFUSED first":         {[]func(dns.ResponseWriter, *dns.Msg){refusing(dns.RcodeRefused), good}, "NOERROR 192.0.2.80"},
		"all REFUSED":           {[]func(dns.ResponseWriter, *dns.Msg){refusing(dns.RcodeRefused), refusing(dns.RcodeRefused)}, "REFUSED"},
		"NXDOMAIN first":        {[]func(dns.ResponseWriter, *dns.Msg){refusing(dns.RcodeNameError), late}, "NXDOMAIN"},
		"without EDNS":          {[]func(dns.ResponseWriter, *dns.Msg){noEDNS}, "NOERROR 192.0.2.80"},
		"truncating":            {[]func(dns.ResponseWriter, *dns.Msg){truncating}, "NOERROR 192.0.2.80"},
		"another ID":            {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) { m.Id ^= 1 })}, "NOERROR 192.0.2.80"},
		"another question":      {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) { m.Question[0].Name = "evil." })}, "NOERROR 192.0.2.80"},
		"another type":          {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })}, "NOERROR 192.0.2.80"},
		"no question":           {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) { m.Question = nil })}, "NOERROR 192.0.2.80"},
		"a query back":          {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) { m.Response = false })}, "NOERROR 192.0.2.80"},
		"another address":       {[]func(dns.ResponseWriter, *dns.Msg){elsewhere}, "NOERROR 192.0.2.80"},
		"garbage":               {[]func(dns.ResponseWriter, *dns.Msg){garbage}, "NOERROR 192.0.2.80"},
		"none":                  {nil, "SERVFAIL"},
		"upper case echoed": {[]func(dns.ResponseWriter, *dns.Msg){lying(func(m *dns.Msg) {
			m.Question[0].Name = "EXAMPLE.com."
			m.Answer = replyTo(m, "@ 60 IN A 192.0.2.80").Answer
		})}, "NOERROR 192.0.2.80"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ups []*fakeServer
			for _, h := range tc.servers {
				ups = append(ups, upstreamServer(t, h))
			}
			server := outside(t, testNames(t, ups...))
			for _, network := range []string{"udp", "tcp"} {
				if got := data(ask(t, network, server, question("Example.com", dns.TypeA))); got != tc.want {
					t.Errorf("by %s: %s, want %s", network, got, tc.want)
				}
			}
		})
	}
}

// TestLettersAreMixed: every query has others, and an answer with its own is
// believed without a second question.
func TestLettersAreMixed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]bool{}
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		mu.Lock()
		seen[m.Question[0].Name] = true
		mu.Unlock()
		answering("@ 0 IN A 192.0.2.80")(w, m)
	})
	server := outside(t, testNames(t, up))
	for range 20 {
		r := ask(t, "udp", server, question("Many-Letters-To-Guess.example", dns.TypeA))
		if got := data(r); got != "NOERROR 192.0.2.80" || r.Question[0].Name != "Many-Letters-To-Guess.example." {
			t.Errorf("%s", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 20 || up.tcp.Load() != 0 {
		t.Errorf("20 queries had %d names: %v; %d by TCP", len(seen), seen, up.tcp.Load())
	}
}

// TestDeadServer: one that the kernel says is not there is passed over at
// once, and remembered.
func TestDeadServer(t *testing.T) {
	t.Parallel()
	dead := &fakeServer{addr: "127.0.0.1:1"}
	good := upstreamServer(t, answering("@ 0 IN A 192.0.2.80"))
	n := testNames(t, dead, good)
	server := outside(t, n)
	d := n.forward.dialer.(*mapDialer)
	for i := range 3 {
		if got := data(ask(t, "udp", server, question(fmt.Sprint("x", i), dns.TypeA))); got != "NOERROR 192.0.2.80" {
			t.Fatal(got)
		}
	}
	if got := d.dials.Load(); got != 4 {
		t.Errorf("%d sockets for 3 queries, want 4: the dead server is asked once", got)
	}
	begin := time.Now()
	got := data(ask(t, "udp", outside(t, testNames(t, dead)), question("x", dns.TypeA)))
	if took := time.Since(begin); got != "SERVFAIL" || took >= patience {
		t.Errorf("alone: %s after %v, as long as one that is silent", got, took)
	}
}

// TestGuessing: who sends many wrong IDs to the right port makes us leave it.
func TestGuessing(t *testing.T) {
	t.Parallel()
	var once sync.Once
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		once.Do(func() {
			lie := replyTo(m, "@ 60 IN A 203.0.113.66")
			for i := range 1000 {
				lie.Id = m.Id + 1 + uint16(i)
				w.WriteMsg(lie)
			}
		})
		if w.RemoteAddr().Network() == "tcp" {
			answering("@ 60 IN A 192.0.2.80")(w, m)
		}
	})
	server := outside(t, testNames(t, up))
	if got := data(ask(t, "udp", server, question("example.com", dns.TypeA))); got != "NOERROR 192.0.2.80" {
		t.Error(got)
	}
	if up.tcp.Load() != 1 {
		t.Errorf("%d queries by TCP, want 1", up.tcp.Load())
	}
}

// TestCacheAndMerge: a question is asked once however many ask it, and then
// remembered, with the case of each client's own name.
func TestCacheAndMerge(t *testing.T) {
	t.Parallel()
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		time.Sleep(50 * time.Millisecond)
		answering("@ 60 IN CNAME host.example.net.", "host.example.net. 60 IN A 192.0.2.80")(w, m)
	})
	n := testNames(t, up)
	server := outside(t, n)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { ask(t, "udp", server, question("example.com", dns.TypeA)) })
	}
	wg.Wait()
	r := ask(t, "udp", server, question("eXample.COM", dns.TypeA).SetEdns0(1232, false))
	if up.queries.Load() != 1 {
		t.Errorf("%d queries upstream, want 1", up.queries.Load())
	}
	if got := data(r); got != "NOERROR host.example.net. 192.0.2.80" || r.Question[0].Name != "eXample.COM." || r.IsEdns0() == nil {
		t.Errorf("the remembered answer: %v", r)
	}
	ask(t, "udp", server, question("example.com", dns.TypeA).SetEdns0(1232, true))
	if up.queries.Load() != 2 {
		t.Error("an answer without DNSSEC was given to who asked for it")
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if opt := up.last.IsEdns0(); opt == nil || opt.UDPSize() != ednsUDP || !opt.Do() {
		t.Errorf("asked upstream with %v", up.last)
	}
}

// TestFreshPorts: every query has its own port and ID.
func TestFreshPorts(t *testing.T) {
	t.Parallel()
	up := upstreamServer(t, answering("@ 0 IN A 192.0.2.80"))
	server := outside(t, testNames(t, up))
	const queries = 200
	for i := range queries {
		ask(t, "udp", server, question(fmt.Sprint("n", i), dns.TypeA))
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if len(up.ports) < queries*95/100 || len(up.ids) < queries*95/100 {
		t.Errorf("%d ports and %d IDs in %d queries", len(up.ports), len(up.ids), queries)
	}
}

// TestViews: a sandbox with servers of its own neither asks nor sees what the
// others are told.
func TestViews(t *testing.T) {
	t.Parallel()
	host := upstreamServer(t, answering("@ 60 IN A 192.0.2.1"))
	own := upstreamServer(t, answering("@ 60 IN A 192.0.2.2"))
	n := testNames(t, host)
	n.forward.dialer.(*mapDialer).to["198.51.100.5:53"] = own.addr
	n.SetNetwork("N", "net", false)
	n.SetNetwork("I", "inside", true)
	a := serve(t, n, Sandbox{ID: "a", Networks: []string{"N"}})
	conf := Sandbox{ID: "b", Networks: []string{"I", "N"}, DNS: catenet.DNSConfig{Servers: catenetAddrs("198.51.100.5")}}
	b := serve(t, n, conf)
	for range 2 {
		if got := data(ask(t, "udp", a, question("example.com", dns.TypeA))); got != "NOERROR 192.0.2.1" {
			t.Errorf("with the host's servers: %s", got)
		}
		if got := data(ask(t, "udp", b, question("example.com", dns.TypeA))); got != "NOERROR 192.0.2.2" {
			t.Errorf("with its own server: %s", got)
		}
	}
	if host.queries.Load() != 1 || own.queries.Load() != 1 {
		t.Errorf("%d and %d queries, want one each", host.queries.Load(), own.queries.Load())
	}
	conf.Networks = []string{"I"}
	n.Update(conf)
	if got := data(ask(t, "udp", b, question("example.com", dns.TypeA))); got != "NXDOMAIN" {
		t.Errorf("a sandbox with internal networks only: %s", got)
	}
	ask(t, "udp", b, question("other.example.com", dns.TypeMX))
	if own.queries.Load() != 1 {
		t.Error("an internal sandbox's query left the host")
	}
	n.Stop("b")
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.sets) != 1 {
		t.Errorf("%d sets of servers are kept, want the host's", len(n.sets))
	}
}

// TestSearchDomains: upstream comes first, then what is left of the name.
func TestSearchDomains(t *testing.T) {
	t.Parallel()
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if strings.HasPrefix(strings.ToLower(m.Question[0].Name), "www.") {
			answering("@ 60 IN A 192.0.2.80")(w, m)
			return
		}
		w.WriteMsg(replyNX(m))
	})
	n := testNames(t, up)
	fill(t, n)
	conf := Sandbox{ID: "s", Networks: []string{"N1"}, DNS: catenet.DNSConfig{Search: []string{"Corp.example."}}}
	server := serve(t, n, conf)
	for range 2 { // the second time from the cache
		for name, want := range map[string]string{
			"www.corp.example":      "NOERROR 192.0.2.80",
			"db.corp.example":       "NOERROR 172.18.0.3",
			"db.front.corp.example": "NOERROR 172.18.0.3",
			"no.corp.example":       "NXDOMAIN",
			"db.other.example":      "NXDOMAIN",
		} {
			if got := data(ask(t, "udp", server, question(name, dns.TypeA))); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	n.SetNetwork("N1", "front", true)
	if got := data(ask(t, "udp", server, question("www.corp.example", dns.TypeA))); got != "NOERROR 172.18.0.2" {
		t.Errorf("internal: %s", got)
	}
}

func replyNX(m *dns.Msg) *dns.Msg {
	r := replyTo(m, "example. 60 IN SOA ns.example. root.example. 1 2 3 4 30")
	r.Rcode = dns.RcodeNameError
	return r
}

// TestHostChanges: a new resolv.conf of the host is heeded within a second or
// so, and systemd-resolved's stub has its servers in reserve.
func TestHostChanges(t *testing.T) {
	t.Parallel()
	first := upstreamServer(t, answering("@ 0 IN A 192.0.2.1"))
	second := upstreamServer(t, answering("@ 0 IN A 192.0.2.2"))
	n := testNames(t, first)
	n.forward.dialer.(*mapDialer).to["198.51.100.7:53"] = second.addr
	n.forward.dialer.(*mapDialer).to["127.0.0.53:53"] = "127.0.0.1:1"
	server := outside(t, n)
	if got := data(ask(t, "udp", server, question("x", dns.TypeA))); got != "NOERROR 192.0.2.1" {
		t.Fatal(got)
	}
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(n.hostConf.stubPath, "nameserver 198.51.100.7\n")
	write(n.hostConf.path, "# stub\nnameserver 127.0.0.53\nsearch a b\noptions edns0\n")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := data(ask(t, "udp", server, question("x", dns.TypeA)))
		if got == "NOERROR 192.0.2.2" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", got)
		}
	}
	if c := n.HostConf(); fmt.Sprint(c) != "{[127.0.0.53] [198.51.100.7] [a b] [edns0]}" {
		t.Errorf("the host says %v", c)
	}
}

// TestLocalWhileUpstreamHangs: the slow way may be full to the brim.
func TestLocalWhileUpstreamHangs(t *testing.T) {
	t.Parallel()
	n := testNames(t, upstreamServer(t, silent))
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N1"}})
	c, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now() // nothing is given up before patience is at its end
	failed := make(chan int)
	go func() {
		b, count := make([]byte, 512), 0
		defer func() { failed <- count }()
		c.SetReadDeadline(start.Add(patience))
		for count < 10 {
			if _, err := c.Read(b); err != nil {
				return
			}
			if b[3]&0x0f == rcodeServFail {
				count++
			}
		}
	}()
	for i := range slowPerSandbox + 10 {
		packed, err := question(fmt.Sprint("x", i, ".example.com"), dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(packed); err != nil {
			t.Fatal(err)
		}
		if i%32 == 0 { // not to overrun the socket's buffer
			time.Sleep(time.Millisecond)
		}
	}
	if got := <-failed; got != 10 {
		t.Errorf("%d queries above the bound were refused at once, want 10", got)
	}
	if got := data(ask(t, "udp", server, question("db", dns.TypeA))); got != "NOERROR 172.18.0.3" {
		t.Error(got)
	}
	n.Stop("s")
	if took := time.Since(start); took >= patience {
		t.Errorf("a local name and Stop waited for the others: %v", took)
	}
}

// TestLargeAnswers: what upstream gives by TCP comes to a UDP client as TC,
// and in full by TCP.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 200 {
		records = append(records, fmt.Sprintf("@ 60 IN A 192.0.2.%d", i))
	}
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		r := replyTo(m, records...)
		r.Compress = true
		if w.RemoteAddr().Network() == "udp" {
			r.Truncate(ednsUDP)
		}
		w.WriteMsg(r)
	})
	server := outside(t, testNames(t, up))
	for range 2 {
		if r := ask(t, "udp", server, question("big", dns.TypeA)); !r.Truncated {
			t.Errorf("by UDP: %s", data(r))
		}
		if r := ask(t, "udp", server, question("big", dns.TypeA).SetEdns0(4096, false)); r.Truncated || len(r.Answer) != 200 {
			t.Errorf("by UDP with room: %d records, truncated %v", len(r.Answer), r.Truncated)
		}
		if r := ask(t, "tcp", server, question("big", dns.TypeA)); r.Truncated || len(r.Answer) != 200 {
			t.Errorf("by TCP: %d records, truncated %v", len(r.Answer), r.Truncated)
		}
	}
	if got := up.tcp.Load(); got != 1 {
		t.Errorf("%d queries by TCP, want 1", got)
	}
}

// TestPipelining: RFC 7766: many queries on one connection, each answered as
// soon as it can be, and half-closed connections are served to the end.
func TestPipelining(t *testing.T) {
	t.Parallel()
	up := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		time.Sleep(300 * time.Millisecond)
		answering("@ 60 IN A 192.0.2.80")(w, m)
	})
	n := testNames(t, up)
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N1"}})
	c, err := net.Dial("tcp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	for _, name := range []string{"slow.example.com", "web", "db"} {
		if err := conn.WriteMsg(question(name, dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Question[0].Name)
	}
	if s := strings.Join(got, " "); s != "web. db. slow.example.com." {
		t.Errorf("answers came in the order %s", s)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N1"}})
	var conns []*dns.Conn
	served := 0
	for range connsPerSandbox + 5 {
		c, err := net.Dial("tcp4", server)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, &dns.Conn{Conn: c})
	}
	for _, c := range conns {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if err := c.WriteMsg(question("web", dns.TypeA)); err != nil {
			continue
		}
		if _, err := c.ReadMsg(); err == nil {
			served++
		}
	}
	if served != connsPerSandbox {
		t.Errorf("%d connections are served, want %d", served, connsPerSandbox)
	}
	for _, bad := range [][]byte{{0, 3, 1, 2, 3}, {0xff, 0xff, 0}} {
		conns[0].Close()
		n.Stop("s")
		server = serve(t, n, Sandbox{ID: "s"})
		c, err := net.DialTimeout("tcp4", server, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(bad); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if k, err := c.Read(make([]byte, 1)); k != 0 || err == nil || isTimeout(err) {
			t.Errorf("after %v: %d bytes, %v; want the end", bad, k, err)
		}
		c.Close()
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// TestCloseBreaksOff: Close does not wait for a server that says nothing, nor
// leaves anything running. (Not in parallel: it counts goroutines.)
func TestCloseBreaksOff(t *testing.T) {
	up := upstreamServer(t, silent)
	n := testNames(t, up)
	server := outside(t, n)
	c, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packed, err := question("x", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.Write(packed); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for up.queries.Load() == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took >= patience || ctx.Err() != nil {
		t.Errorf("Close took %v (%v)", took, ctx.Err())
	}
	noGoroutines(t)
}
