package e2e

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// lookups asks a namespace's resolver for a name again and again, and returns
// when it was answered with the address. again says that every question has a
// connection of its own; otherwise all have one, as the retries of a resolver
// library have.
func lookups(ctx context.Context, ns, proto, name string, want netip.Addr, again bool) (at time.Time, err error) {
	err = kerneltest.In(ns, func() error {
		client := dns.Client{Net: proto, Timeout: 100 * time.Millisecond}
		var conn *dns.Conn
		for {
			if conn == nil || again {
				if conn != nil {
					conn.Close()
				}
				if conn, err = client.Dial("127.0.0.11:53"); err != nil {
					conn = nil // refused: nobody is there
				}
			}
			if conn != nil {
				q := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
				reply, _, err := client.ExchangeWithConn(q, conn)
				if err == nil && len(reply.Answer) == 1 && reply.Answer[0].(*dns.A).A.String() == want.String() {
					at = time.Now()
					return conn.Close()
				}
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return at, err
}

// TestALookupThatIsRetriedOutlivesAKill has containers look up a name while no
// daemon is there, and one start meanwhile.
func TestALookupThatIsRetriedOutlivesAKill(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.idle("db", "--network", "front")
	g.idle("web", "--network", "front")
	ns, want := g.ns("web"), g.addr4("db")
	asks := []struct {
		name, proto string
		again       bool
	}{{"one UDP socket", "udp", false}, {"UDP sockets", "udp", true}, {"TCP connections", "tcp", true}}
	g.a.Kill()
	start := time.Now().Add(200 * time.Millisecond) // all have been refused by then
	ctx, cancel := context.WithDeadline(t.Context(), start.Add(soon))
	defer cancel()
	type answer struct {
		at  time.Time
		err error
	}
	answers := make([]chan answer, len(asks))
	for i, ask := range asks {
		answers[i] = make(chan answer, 1)
		go func() {
			at, err := lookups(ctx, ns, ask.proto, "db", want, ask.again)
			answers[i] <- answer{at, err}
		}()
	}
	time.Sleep(time.Until(start))
	g.a.Daemon()
	for i, ask := range asks {
		got := <-answers[i]
		if got.err != nil {
			t.Errorf("by %s: no answer within %s of the start", ask.name, soon)
			continue
		}
		if got.at.Before(start) {
			t.Errorf("by %s: answered without a daemon: this test proves nothing", ask.name)
		}
		t.Logf("by %s: answered %s after the start", ask.name, got.at.Sub(start).Round(time.Millisecond))
	}
}
