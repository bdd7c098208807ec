package names

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/miekg/dns"
)

// noGoroutines fails if one of ours is left.
func noGoroutines(t testing.TB) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stacks := string(buf[:runtime.Stack(buf, true)])
		left := 0
		for _, of := range []string{"(*sandbox)", "(*forwarder)", "(*race)"} {
			left += strings.Count(stacks, "names."+of)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", stacks)
		}
	}
}

// fill makes the networks and endpoints that the tests of local names use.
func fill(t testing.TB, n *Names) {
	t.Helper()
	n.SetNetwork("N1", "front", false)
	n.SetNetwork("N2", "Back.End", false)
	n.SetNetwork("N3", "hidden", false)
	n.SetNetwork("N4", "inside", true)
	for _, r := range []Record{
		{EndpointID: "e1", NetworkID: "N1", Name: "Web", Aliases: []string{"www", "all"}, IDs: []string{"0123456789abcdef", "0123456789ab"}, IPv4: addr("172.18.0.2"), IPv6: addr("fd00::2")},
		{EndpointID: "e2", NetworkID: "N1", Name: "db", Aliases: []string{"all"}, IPv4: addr("172.18.0.3")},
		{EndpointID: "e3", NetworkID: "N2", Name: "db", IPv4: addr("172.19.0.3"), IPv6: addr("fd01::3")},
		{EndpointID: "e4", NetworkID: "N3", Name: "secret", IPv4: addr("172.20.0.4")},
		{EndpointID: "e5", NetworkID: "N4", Name: "a.b", IPv4: addr("172.21.0.5")},
	} {
		if err := n.Put(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocalNames(t *testing.T) {
	t.Parallel()
	up := upstreamServer(t, refusing(dns.RcodeNameError))
	n := testNames(t, up)
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N1", "N2", "N4"}, ExtraHosts: []Host{
		{"mine", addr("192.0.2.9")}, {"mine", addr("2001:db8::9")}, {"www.front", addr("192.0.2.8")},
	}})
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"web", dns.TypeA, "NOERROR 172.18.0.2"},
		{"WEB.", dns.TypeAAAA, "NOERROR fd00::2"},
		{"web.Front", dns.TypeA, "NOERROR 172.18.0.2"},
		{"www", dns.TypeA, "NOERROR 172.18.0.2"},
		{"0123456789ab", dns.TypeA, "NOERROR 172.18.0.2"},
		{"0123456789abcdef.front", dns.TypeA, "NOERROR 172.18.0.2"},
		{"db", dns.TypeA, "NOERROR 172.18.0.3"}, // the first network wins
		{"db", dns.TypeAAAA, "NOERROR fd01::3"}, // and the next has what it lacks
		{"db.front", dns.TypeAAAA, "NOERROR"},   // the name is there, the family is not
		{"db.back.end", dns.TypeA, "NOERROR 172.19.0.3"},
		{"web", dns.TypeTXT, "NOERROR"},
		{"web", dns.TypeHTTPS, "NOERROR"},
		{"web", dns.TypeANY, "NOERROR 172.18.0.2 fd00::2"},
		{"a.b", dns.TypeA, "NOERROR 172.21.0.5"},
		{"a.b.inside", dns.TypeA, "NOERROR 172.21.0.5"},
		{"b.inside", dns.TypeA, "NXDOMAIN"},
		{"secret", dns.TypeA, "NXDOMAIN"}, // a network that it does not see
		{"secret.hidden", dns.TypeA, "NXDOMAIN"},
		{"xfront", dns.TypeA, "NXDOMAIN"},
		{"front", dns.TypeA, "NXDOMAIN"},
		{"web.web.front", dns.TypeA, "NXDOMAIN"},
		{"mine", dns.TypeA, "NOERROR 192.0.2.9"},
		{"mine", dns.TypeAAAA, "NOERROR 2001:db8::9"},
		{"www.front", dns.TypeA, "NOERROR 192.0.2.8"},
		{"2.0.18.172.in-addr.arpa", dns.TypePTR, "NOERROR web.front."},
		{"3.0.19.172.IN-ADDR.arpa", dns.TypePTR, "NOERROR db.back.end."},
		{"4.0.20.172.in-addr.arpa", dns.TypePTR, "NXDOMAIN"},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", dns.TypePTR, "NOERROR web.front."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := ask(t, network, server, question(tc.name, tc.qtype))
			if got := data(r); got != tc.want {
				t.Errorf("%s %s by %s: %s, want %s", tc.name, dns.TypeToString[tc.qtype], network, got, tc.want)
			}
			if r.Question[0].Name != dns.Fqdn(tc.name) {
				t.Errorf("%s came back as %s", tc.name, r.Question[0].Name)
			}
			for _, rr := range r.Answer {
				if rr.Header().Ttl != localTTL {
					t.Errorf("%s: TTL %d", tc.name, rr.Header().Ttl)
				}
			}
		}
	}
}

// TestManyAddresses: all of an alias's addresses, each first at some time, as
// many as the client takes.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	n.SetNetwork("N", "net", true)
	const all = 300
	for i := range all {
		if err := n.Put(Record{EndpointID: fmt.Sprint(i), NetworkID: "N", Name: fmt.Sprint("c", i), Aliases: []string{"all"},
			IPv4: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}); err != nil {
			t.Fatal(err)
		}
	}
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N"}})
	r := ask(t, "tcp", server, question("all", dns.TypeA))
	if len(r.Answer) != all || r.Truncated {
		t.Fatalf("by TCP: %d addresses, truncated %v", len(r.Answer), r.Truncated)
	}
	firsts := map[string]bool{}
	for range 50 {
		r = ask(t, "udp", server, question("all", dns.TypeA))
		firsts[r.Answer[0].String()] = true
	}
	r.Compress = true
	if r.Len() > plainUDP || !r.Truncated || len(r.Answer) != (plainUDP-21)/16 {
		t.Errorf("without EDNS: %d addresses in %d bytes, truncated %v", len(r.Answer), r.Len(), r.Truncated)
	}
	if len(firsts) < 20 {
		t.Errorf("only %d of 50 answers began differently", len(firsts))
	}
	m := question("all", dns.TypeA).SetEdns0(1400, true)
	r = ask(t, "udp", server, m)
	if opt := r.IsEdns0(); opt == nil || !opt.Do() || opt.UDPSize() != ednsUDP || !r.Truncated || len(r.Answer) != (1400-21-11)/16 {
		t.Errorf("with EDNS: %d addresses, truncated %v, %v", len(r.Answer), r.Truncated, opt)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N4"}})
	expect := func(name, want string) {
		t.Helper()
		if got := data(ask(t, "udp", server, question(name, dns.TypeA))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	expect("web", "NXDOMAIN")
	n.Update(Sandbox{ID: "s", Networks: []string{"N1", "N4"}})
	expect("web", "NOERROR 172.18.0.2")
	if err := n.Put(Record{EndpointID: "e1", NetworkID: "N1", Name: "web2", IPv4: addr("172.18.0.7")}); err != nil {
		t.Fatal(err)
	}
	expect("web", "SERVFAIL") // forwarded, and there is nobody
	expect("web2", "NOERROR 172.18.0.7")
	expect("all", "NOERROR 172.18.0.3")
	n.SetNetwork("N1", "renamed", true)
	expect("web2.renamed", "NOERROR 172.18.0.7")
	expect("web2.front", "NXDOMAIN") // now all of its networks are internal
	if err := n.Put(Record{EndpointID: "e1", NetworkID: "N4", Name: "web2", IPv4: addr("172.21.0.7")}); err != nil {
		t.Fatal(err)
	}
	expect("web2", "NOERROR 172.21.0.7")
	reverse := func(want string) {
		t.Helper()
		if got := data(ask(t, "udp", server, question("7.0.21.172.in-addr.arpa", dns.TypePTR))); got != want {
			t.Errorf("PTR: %s, want %s", got, want)
		}
	}
	reverse("NOERROR web2.inside.")
	n.Delete("e1")
	expect("web2", "NXDOMAIN")
	reverse("NXDOMAIN")
	n.RemoveNetwork("N1")
	expect("db", "NXDOMAIN")
	n.SetNetwork("N1", "front", true)
	expect("db", "NXDOMAIN")
	if err := n.Put(Record{NetworkID: "none"}); !catenet.IsNotFound(err) {
		t.Errorf("a record of no network: %v", err)
	}
	n.mu.Lock()
	left := len(n.endpoints)
	n.mu.Unlock()
	if left != 3 {
		t.Errorf("%d records are left, want those of e3, e4 and e5", left)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	server := serve(t, n, Sandbox{ID: "s"})
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if err := n.Serve(Sandbox{ID: "s"}, pc, new(net.TCPListener)); !catenet.IsConflict(err) {
		t.Errorf("twice: %v", err)
	}
	n.Stop("s")
	n.Stop("s")
	if c, err := net.ListenPacket("udp4", server); err != nil {
		t.Errorf("the port is held after Stop: %v", err)
	} else {
		c.Close()
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(Sandbox{ID: "t"}, pc, new(net.TCPListener)); catenet.KindOf(err) != catenet.KindUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

// TestUnusual: what is wrong or strange gets the right code.
func TestUnusual(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N4", "N1"}})
	cookie := question("web", dns.TypeA).SetEdns0(1400, false)
	cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
	version := question("web", dns.TypeA).SetEdns0(1400, false)
	version.IsEdns0().SetVersion(1)
	two := question("web", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	chaos := question("version.bind", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	for _, tc := range []struct {
		what string
		m    *dns.Msg
		want string
	}{
		{"cookie", cookie, "NOERROR 172.18.0.2"},
		{"EDNS version 1", version, dns.RcodeToString[dns.RcodeBadVers]},
		{"two questions", two, "FORMERR"},
		{"class CHAOS", chaos, "REFUSED"},
		{"zone transfer", question("front", dns.TypeAXFR), "REFUSED"},
		{"notify", new(dns.Msg).SetNotify("front."), "NOTIMP"},
		{"update", new(dns.Msg).SetUpdate("front."), "NOTIMP"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := data(ask(t, network, server, tc.m)); got != tc.want {
				t.Errorf("%s by %s: %s, want %s", tc.what, network, got, tc.want)
			}
		}
	}
	c, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	broken := append([]byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 63, 'x')
	answerTo := func(m []byte) string {
		if _, err := c.Write(m); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 512)
		k, err := c.Read(b)
		if err != nil {
			return "nothing"
		}
		return fmt.Sprintf("%v", b[:k])
	}
	if got, want := answerTo(broken), fmt.Sprintf("%v", []byte{1, 2, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0}); got != want {
		t.Errorf("broken: %s, want %s", got, want)
	}
	reply := slices.Clone(broken)
	reply[2] |= 0x80
	if got := answerTo(reply); got != "nothing" {
		t.Errorf("a reply was answered: %s", got)
	}
	if got := answerTo(broken[:11]); got != "nothing" {
		t.Errorf("11 bytes were answered: %s", got)
	}
}
