package names

import (
	"testing"

	"github.com/miekg/dns"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	n := testNames(t, upstreamServer(t, answering("@ 60 IN A 192.0.2.80")))
	fill(t, n)
	server := serve(t, n, Sandbox{ID: "s", Networks: []string{"N1"}})
	ask(t, "udp", server, question("web", dns.TypeA))
	for _, network := range []string{"udp", "udp", "tcp"} {
		ask(t, network, server, question("example.com", dns.TypeA))
	}
	want := Counts{Queries: 4, Cached: 2, Forwarded: 1}
	if got := n.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	n.Stop("s")
	if got := n.Counts(); got != want {
		t.Errorf("without the sandbox: %+v, want %+v", got, want)
	}
	n = testNames(t)
	fill(t, n)
	ask(t, "udp", serve(t, n, Sandbox{ID: "s", Networks: []string{"N1"}}), question("example.com", dns.TypeA))
	if got := n.Counts(); got != (Counts{Queries: 1, Failed: 1}) {
		t.Errorf("without servers: %+v", got)
	}
}
