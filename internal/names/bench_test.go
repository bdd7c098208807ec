package names

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// crowd makes a network with count endpoints, c0 and so on.
func crowd(t testing.TB, n *Names, count int) {
	t.Helper()
	n.SetNetwork("N", "net", false)
	for i := range count {
		if err := n.Put(member(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func member(i int) Record {
	id := fmt.Sprintf("%064x", i+1)
	return Record{EndpointID: id, NetworkID: "N", Name: fmt.Sprint("c", i), Aliases: []string{fmt.Sprint("alias", i)},
		IDs: []string{id, id[52:]}, IPv4: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}
}

// quickCase is a query that the quick way answers.
func quickCase(t testing.TB, name string) (n *Names, v *view, q *query, m []byte) {
	t.Helper()
	n = testNames(t, &fakeServer{addr: "127.0.0.1:1"})
	crowd(t, n, 10000)
	serve(t, n, Sandbox{ID: "s", Networks: []string{"N"}})
	v = n.sandboxes["s"].view.Load()
	packed, err := question(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	m = append(make([]byte, 0, maxQuery), packed...)
	q = testQuery(t, name, dns.TypeA)
	set, _ := n.around(v, time.Now())
	answer := replyTo(question("example.com", dns.TypeA), "@ 3600 IN A 192.0.2.1")
	packed, err = answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	cached := testQuery(t, "example.com", dns.TypeA)
	r, err := readReply(packed, cached.end, dns.TypeA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.cache.put(string(set.appendKey(nil, cached)), r)
	return n, v, q, m
}

// TestQuickDoesNotAllocate: neither for a local name nor for a remembered
// answer. (Not in parallel: it counts.)
func TestQuickDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"c77", "c77.net", "example.com"} {
		n, v, q, m := quickCase(t, name)
		size := len(m)
		if got := testing.AllocsPerRun(1000, func() {
			m = m[:size]
			m[2], m[3] = flagRD, 0
			clear(m[6:headerLen])
			if q.parse(m) != standard {
				t.Fatal("not standard")
			}
			if r, ask := n.quick(v, q, m, plainUDP); ask != nil || r[7] != 1 {
				t.Fatal("not answered")
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func BenchmarkQuick(b *testing.B) {
	for _, name := range []string{"c77", "c77.net", "example.com"} {
		b.Run(name, func(b *testing.B) {
			n, v, q, m := quickCase(b, name)
			size := len(m)
			b.ReportAllocs()
			for b.Loop() {
				m = m[:size]
				m[2], m[3] = flagRD, 0
				clear(m[6:headerLen])
				q.parse(m)
				n.quick(v, q, m, plainUDP)
			}
		})
	}
}

// BenchmarkPut: what one endpoint costs, with few and with many there.
func BenchmarkPut(b *testing.B) {
	for _, there := range []int{10, 10000} {
		b.Run(fmt.Sprint(there, "_there"), func(b *testing.B) {
			n := testNames(b)
			crowd(b, n, there)
			r := member(60000)
			for b.Loop() {
				if err := n.Put(r); err != nil {
					b.Fatal(err)
				}
				n.Delete(r.EndpointID)
			}
		})
	}
}

// bareResponder sends every datagram back as a reply, without a look at it.
func bareResponder(b *testing.B) string {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	b.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		c, buf := pc.(*net.UDPConn), make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[2] |= flagQR
			if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	return pc.LocalAddr().String()
}

// BenchmarkDnsperf compares, on this machine's cores and in turn, a bare
// responder, local names, and remembered answers: queries a second with 100
// under way, and the mean time of a lone one.
func BenchmarkDnsperf(b *testing.B) {
	up := upstreamServer(b, answering("@ 3600 IN A 192.0.2.1"))
	n := testNames(b, up)
	crowd(b, n, 1000)
	ours := serve(b, n, Sandbox{ID: "s", Networks: []string{"N"}})
	file := func(format string) string {
		var lines strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&lines, format+" A\n", i)
		}
		path := filepath.Join(b.TempDir(), "queries")
		if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	local := file("c%d")
	targets := []struct{ name, server, queries string }{
		{"bare", bareResponder(b), local}, {"local", ours, local}, {"cached", ours, file("w%d.example.com")},
	}
	rate, lone := map[string][]float64{}, map[string][]float64{}
	for range 5 {
		for _, t := range targets {
			rate[t.name] = append(rate[t.name], dnsperf(b, t.server, t.queries, "100", "Queries per second:"))
			lone[t.name] = append(lone[t.name], dnsperf(b, t.server, t.queries, "1", "Average Latency (s):"))
		}
	}
	for b.Loop() { // the figures are those above
	}
	for _, t := range targets {
		b.ReportMetric(median(rate[t.name]), t.name+"-q/s")
		b.ReportMetric(median(lone[t.name])*1e6, t.name+"-lone-µs")
	}
	b.ReportMetric(median(rate["local"])/median(rate["bare"]), "local/bare")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// dnsperf runs for a second with so many queries under way and returns one
// figure of what it prints.
func dnsperf(b *testing.B, server, queries, underWay, figure string) float64 {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("dnsperf", "-s", host, "-p", port, "-d", queries, "-l", "1", "-c", "4", "-q", underWay).CombinedOutput()
	if err != nil {
		b.Fatalf("dnsperf: %v\n%s", err, out)
	}
	_, rest, ok := strings.Cut(string(out), figure)
	if !ok || !strings.Contains(string(out), "Queries lost:         0") {
		b.Fatalf("dnsperf: %s", out)
	}
	f, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return f
}
