package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/vm"
)

// TestAClockThatIsSetBack by a day, and then on by two, on a machine whose
// clock may be set: nothing hangs, and nothing is taken for older or newer than
// it is.
func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, guest(t)) {
		return
	}
	t.Run("clock", testClock)
}

func testClock(t *testing.T) {
	g := newGround(t)
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	server := func(addr string) *lab.Process {
		return g.out.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--conf-file=/dev/null",
			"--bind-interfaces", "--listen-address="+g.out.Addr4.String(), "--host-record=far.test,"+addr, "--local-ttl=4")
	}
	upstream := server("203.0.113.7")
	g.a.Catenet("network", "create", "front")
	g.serve("web", "--network", "front", "-p", "8080:80", "--dns", g.out.Addr4.String())
	g.a.Catenet("run", "-d", "--name", "ticks", "--", "sh", "-c", "while :; do echo tick; sleep 0.2; done")
	g.a.Catenet("run", "-d", "--name", "deaf", "--", "sh", "-c", "trap '' TERM; while :; do sleep 600; done")
	far := func() string { return g.a.Exec("web", "dig", "+short", "+tries=1", "+time=4", "far.test").Text() }
	g.Eventually(3*soon, func() string {
		if got := far(); got != "203.0.113.7" {
			return "far.test is " + got
		}
		return ""
	})
	ends := g.a.Start("curl", "-s", "--unix-socket", g.a.Socket(), fmt.Sprintf("http://d/events?until=%d", time.Now().Add(8*time.Second).Unix()))

	for _, by := range []time.Duration{-24 * time.Hour, 48 * time.Hour} {
		addr := map[bool]string{true: "203.0.113.8", false: "203.0.113.9"}[by < 0]
		far() // it is in the cache
		follows := g.a.Start("env", "CATENET_HOST="+g.a.Socket(), filepath.Join(lab.Binaries(t), "catenet"), "logs", "-f", "-n", "1", "ticks")
		upstream.Signal(unix.SIGTERM)
		setClock(t, by)
		upstream = server(addr)
		what := fmt.Sprintf("set by %v", by)
		// What was kept for 4 seconds is forgotten after 4, whatever the clock says.
		g.Eventually(2*soon, func() string {
			if got := far(); got != addr {
				return what + ": far.test is still " + got
			}
			return ""
		})
		// The host's servers are read again.
		if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver "+addr+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		g.Eventually(2*soon, func() string {
			var info catenet.Info
			g.a.Inspect(&info, "info")
			if got := fmt.Sprint(info.DNSUpstreams); got != "["+addr+":53]" {
				return what + ": the host's servers are still " + got
			}
			return ""
		})
		// A wait is as long as it is.
		begin := time.Now()
		g.a.Catenet("stop", "-t", "1", "deaf")
		if took := time.Since(begin); took > 2*soon {
			t.Errorf("%s: a stop of one second took %v", what, took)
		}
		g.a.Catenet("start", "deaf")
		before := follows.Output()
		g.Eventually(soon, func() string {
			if len(follows.Output()) == len(before) {
				return what + ": logs -f shows no more"
			}
			return ""
		})
		if got := g.a.Catenet("logs", "--since", "1h", "ticks"); !strings.Contains(got, "tick") {
			t.Errorf("%s: the log of the last hour is %q", what, got)
		}
		if got := g.a.Exec("web", "dig", "+short", "web").Text(); got != g.addr4("web").String() {
			t.Errorf("%s: web is %q", what, got)
		}
		g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
		g.a.Catenet("network", "create", "new")
		if by < 0 { // a day older than anything else, and yet new
			g.a.Catenet("network", "prune", "-f", "--filter", "until=1h")
		}
		g.a.Catenet("network", "rm", "new")
	}
	g.Eventually(2*soon, func() string {
		if !ends.Ended() {
			return "the events until in 8 seconds go on"
		}
		return ""
	})
	g.a.Kill()
	g.a.Daemon()
	if got := status(g.a, "web"); got.State != catenet.StateRunning || len(got.Bindings) == 0 {
		t.Errorf("after a start web is %s with %v", got.State, got.Bindings)
	}
	if err := os.WriteFile("/etc/resolv.conf", resolv, 0o644); err != nil {
		t.Fatal(err)
	}
}

// setClock sets the machine's clock: that of the second kernel.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		t.Fatal(err)
	}
}
