package lab

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestHostsReachEachOther(t *testing.T) {
	t.Parallel()
	l := New(t)
	a, b, c := l.Host("a"), l.Host("b"), l.Host("c")
	l.Join(a, b, "192.0.2.0/24", "2001:db8:1::/64")
	l.Switch([]*Host{a, b, c}, "198.51.100.0/24")
	if a.Addr4.String() != "192.0.2.1" || b.Addr6.String() != "2001:db8:1::2" || c.Addr4.String() != "198.51.100.3" {
		t.Fatalf("addresses %s, %s, %s", a.Addr4, b.Addr6, c.Addr4)
	}
	b.Serve("", 8080, "bee")
	b.ServeUDP("", 8081, "buzz")
	for _, ask := range [][2]string{
		{"tcp", "192.0.2.2:8080"}, {"tcp", "[2001:db8:1::2]:8080"}, {"udp", "192.0.2.2:8081"}, {"udp", "[2001:db8:1::2]:8081"},
	} {
		if got := a.Ask("", ask[0], ask[1]); !strings.HasPrefix(got, "b") {
			t.Errorf("%s %s answers %q", ask[0], ask[1], got)
		}
	}
	if got := a.Ask("", "tcp", "192.0.2.2:9"); got != "" {
		t.Errorf("a port that nobody serves answers %q", got)
	}
	ping := c.Ping("", "198.51.100.1", 60)
	l.Eventually(patience, func() string {
		if n := ping.Answered(); n < 100 {
			return fmt.Sprint("answers to pings: ", n)
		}
		return ""
	})
	if sent, lost := ping.Stop(); sent < 100 || lost != 0 {
		t.Errorf("%d of %d pings were lost", lost, sent)
	}
}

func TestLedgerSeesWhatIsLeft(t *testing.T) {
	t.Parallel()
	l := New(t)
	h := l.Host("a")
	if left := l.leaks(); len(left) != 0 {
		t.Fatalf("an empty lab has %v", left)
	}

	p := h.Start("sleep", "60")
	if err := os.WriteFile(h.Dir+"/pin", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(h.NS.Path, h.Dir+"/pin", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	h.MustRun("ip", "netns", "add", l.Name("n"))
	if err := os.MkdirAll("/etc/netns/"+l.Name("n"), 0o755); err != nil {
		t.Fatal(err)
	}

	// What is started is nsenter(1) first, and the program a moment later.
	left := strings.Join(l.leaks(), "\n")
	for end := time.Now().Add(5 * time.Second); !strings.Contains(left, "sleep 60") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		left = strings.Join(l.leaks(), "\n")
	}
	for _, want := range []string{"mount " + h.Dir + "/pin", "sleep 60", "/run/netns/" + l.Name("n"), "/etc/netns/" + l.Name("n")} {
		if !strings.Contains(left, want) {
			t.Errorf("the ledger does not see %s in:\n%s", want, left)
		}
	}

	l.sweep()
	p.Wait()
	if left := l.leaks(); len(left) != 0 {
		t.Errorf("after the sweep there is %v", left)
	}
}
