package names

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/catenet/catenet"
)

// behind dials who else answers in a sandbox.
type behind struct{ addr string }

func (b behind) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, b.addr)
}

// TestBehind: who else answers in a sandbox is asked what is not known here, each
// time, though its networks are internal, and instead of all servers; what he says
// is nobody else's.
func TestBehind(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	theirs := upstreamServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		asked.Add(1)
		if m.Question[0].Name != "them.example." {
			t.Errorf("letters were mixed: %s", m.Question[0].Name)
		}
		answering("@ 600 IN A 192.0.2.80")(w, m)
	})
	n := testNames(t, upstreamServer(t, answering("@ 60 IN A 203.0.113.66")))
	n.SetNetwork("N", "net", true)
	n.SetNetwork("O", "open", false)
	inside := serve(t, n, Sandbox{ID: "s", Networks: []string{"N"}, DNS: catenet.DNSConfig{}, Behind: behind{theirs.addr}})
	other := serve(t, n, Sandbox{ID: "t", Networks: []string{"O"}})
	for i := range 3 {
		for at, want := range map[string]string{inside: "192.0.2.80", other: "203.0.113.66"} {
			r := ask(t, "udp", at, new(dns.Msg).SetQuestion("them.example.", dns.TypeA))
			if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
				t.Errorf("lookup %d: %v, want %s", i, r.Answer, want)
			}
		}
		if got := asked.Load(); got != int64(i+1) {
			t.Errorf("asked %d times for %d lookups: what he says comes and goes", got, i+1)
		}
	}
}
