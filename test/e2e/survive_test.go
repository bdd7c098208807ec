package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

func TestKilledAndStartedUnderTraffic(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("db", "--network", "front", "-p", "8080:80")
	g.idle("web", "--network", "front")
	before := status(g.a, "db")
	web := g.ns("web")

	streams := map[string]*lab.Ping{
		"between containers": g.a.Ping(web, g.addr4("db").String(), 120),
		"by IPv6":            g.a.Ping(web, g.addr6("db").String(), 120),
		"to the outside":     g.a.Ping(web, g.out.Addr4.String(), 120),
	}
	// more lets the traffic go on for a while.
	more := func(when string) {
		t.Helper()
		for name, p := range streams {
			before := p.Answered()
			g.Eventually(3*soon, func() string {
				if n := p.Answered() - before; n < 200 {
					return fmt.Sprintf("%s, %s: only %d packets came back", when, name, n)
				}
				return ""
			})
		}
	}
	more("before the kill")
	g.a.Kill()
	more("without a daemon")
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "db")
	start := time.Now()
	g.a.Daemon()
	g.Eventually(soon, func() string {
		if got := g.a.Exec("web", "dig", "+short", "+tries=1", "+time=1", "db").Text(); got != g.addr4("db").String() {
			return "db is " + got
		}
		return ""
	})
	t.Logf("names were served again %s after the start", time.Since(start).Round(time.Millisecond))
	more("with the next daemon")
	for name, p := range streams {
		if sent, lost := p.Stop(); lost != 0 {
			t.Errorf("%s: %d of %d packets were lost", name, lost, sent)
		}
	}
	if after := status(g.a, "db"); after.InitPID != before.InitPID || after.ID != before.ID || after.State != catenet.StateRunning || len(after.Bindings) != len(before.Bindings) {
		t.Errorf("db was %+v and is %+v", before, after)
	}
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "db")
	g.answers(g.out, "", "tcp", at(g.a.Addr6, 8080), "db")
	g.a.Refused([]string{"8080"}, "run", "-d", "-p", "8080:80", "--", "sleep", "60")
}

// TestTrafficOutlivesTenDaemons: 50 streams and 1,000 packets a second, each
// numbered, while the daemon is killed, stopped and replaced in turn.
func TestTrafficOutlivesTenDaemons(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.idle("db", "--network", "front", "-p", "8080:80", "-p", "8080:80/udp")
	g.idle("web", "--network", "front")
	n := newNumbers(t)
	n.serve(g.ns("db"), 80)
	ways := []struct{ name, ns, to string }{
		{"to a published port from outside", g.out.NS.Path, at(g.a.Addr4, 8080)},
		{"to a published port from the host", g.a.NS.Path, "127.0.0.1:8080"},
		{"between containers", g.ns("web"), at(g.addr4("db"), 80)},
	}
	for i := range 50 {
		n.stream(ways[i%3].ns, ways[i%3].to)
	}
	for i, rate := range []int{400, 200, 400} {
		n.packets(ways[i].ns, ways[i].to, rate)
	}
	more := func(packets, messages int64) {
		t.Helper()
		p, m := n.back.Load()+packets, n.streamed.Load()+messages
		g.Eventually(3*soon, func() string {
			if n.back.Load() < p || n.streamed.Load() < m {
				return "the traffic does not go on"
			}
			return ""
		})
	}
	more(500, 500)
	for round := range 10 {
		switch round % 3 {
		case 0:
			g.a.Kill()
		case 1:
			g.a.Stop()
		case 2:
			g.upgrade()
			more(500, 500)
			continue
		}
		more(300, 300)
		g.a.Daemon()
		more(300, 300)
	}
	more(max(0, 10_000-n.back.Load()), 0)
	n.stop()
}

func TestLogsAndExitCodeOutliveTheDaemon(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("run", "-d", "--name", "job", "--", "sh", "-c", "echo before; sleep 1.5; echo while; exit 7")
	g.Eventually(soon, func() string {
		return strings.TrimPrefix(g.a.Catenet("logs", "job"), "before")
	})
	g.a.Kill()
	time.Sleep(2 * time.Second)
	g.a.Daemon()
	if got := g.a.Catenet("logs", "job"); got != "before\nwhile" {
		t.Errorf("the log is %q", got)
	}
	g.Eventually(soon, func() string {
		if got := status(g.a, "job"); got.State != catenet.StateExited || got.ExitCode != 7 {
			return fmt.Sprintf("job is %s with exit code %d, want exited with 7", got.State, got.ExitCode)
		}
		return ""
	})
}

// What is promised is there, what is not is gone, wherever the kill falls.
func TestKilledAtAnyPoint(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	name := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", name)
	defer g.a.MustRun("ip", "netns", "del", name)
	promised := map[string]bool{} // containers whose creation was answered
	for round := range 8 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		tell := func(container string, there bool) {
			mu.Lock()
			defer mu.Unlock()
			promised[container] = there
		}
		work := func(container string, there bool, args ...string) {
			wg.Go(func() {
				if r := g.a.Try(args...); r.Code == 0 {
					tell(container, there)
				} else {
					mu.Lock()
					defer mu.Unlock()
					delete(promised, container) // done or not: nobody promised
				}
			})
		}
		c := fmt.Sprintf("c%d", round)
		work(c, true, "run", "-d", "--name", c, "--network", "front", "-p", fmt.Sprintf("%d:80", 8000+round), "--", "sleep", "600")
		if promised["hand"] {
			work("hand", false, "detach", "hand")
		} else {
			work("hand", true, "attach", "--name", "hand", "--netns", "/run/netns/"+name, "--network", "front", "-p", "7000:80")
		}
		if round > 2 {
			old := fmt.Sprintf("c%d", round-2)
			work(old, false, "rm", "-f", old)
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		g.a.Kill()
		wg.Wait()
		g.a.Daemon()
		g.consistent(promised)
	}
}

// consistent wants the host to show what the daemon lists, and the daemon to
// list what it promised.
func (g *ground) consistent(promised map[string]bool) {
	g.T.Helper()
	g.Eventually(soon, func() string {
		listed := map[string]bool{}
		links := 0
		for _, id := range strings.Fields(g.a.Catenet("ps", "-aq", "--no-trunc")) {
			sb := status(g.a, id)
			listed[sb.Name] = true
			links += len(sb.Endpoints)
			if sb.State != catenet.StateRunning && len(sb.Endpoints) > 0 {
				return sb.Name + " does not run, and has endpoints"
			}
		}
		for name, there := range promised {
			if there != listed[name] {
				return fmt.Sprintf("%s: promised %v, listed %v", name, there, listed[name])
			}
		}
		if got := strings.Count("\n"+g.a.MustRun("ip", "-br", "link"), "\nctn"); got != links {
			return fmt.Sprintf("%d links of endpoints, the daemon lists %d", got, links)
		}
		return ""
	})
}

func TestTheFirewallSurvivesAFlush(t *testing.T) {
	g := newGround(t)
	g.serve("web", "-p", "8080:80")
	g.a.MustRun("nft", "flush", "ruleset")
	g.Eventually(time.Second, func() string {
		if got := g.out.Ask("", "tcp", at(g.a.Addr4, 8080)); !strings.HasPrefix(got, "web ") {
			return "after a flush the published port answers " + got
		}
		return ""
	})
	g.out.MustRun("ip", "route", "add", g.endpoint("web").IPv4.Masked().String(), "via", g.a.Addr4.String())
	g.silent(g.out, "", "tcp", at(g.addr4("web"), 80))
}

func TestWhatOthersRemoveIsPutBack(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.idle("near", "--network", "front")
	ep := g.endpoint("web")
	works := func(what string) {
		t.Helper()
		g.Eventually(soon, func() string {
			if got := g.a.Ask(g.ns("near"), "tcp", at(ep.IPv4.Addr(), 80)); !strings.HasPrefix(got, "web ") {
				return "after " + what + " near gets " + got
			}
			if got := g.out.Ask("", "tcp", at(g.a.Addr4, 8080)); !strings.HasPrefix(got, "web ") {
				return "after " + what + " the outside gets " + got
			}
			return ""
		})
	}
	inside := func(args ...string) {
		t.Helper()
		g.a.MustRun("nsenter", append([]string{"--net=" + g.ns("web"), "--"}, args...)...)
	}
	works("nothing")
	g.a.MustRun("ip", "link", "del", ep.HostLink)
	works("the removal of the link")
	inside("ip", "addr", "flush", "dev", "eth0")
	works("the removal of the address")
	inside("ip", "link", "set", "eth0", "down")
	works("the link going down")
	var bridge string
	for _, l := range strings.Fields(g.a.MustRun("ip", "-br", "link")) {
		if strings.HasPrefix(l, "br-") {
			bridge = l
		}
	}
	g.a.MustRun("ip", "addr", "flush", "dev", bridge)
	works("the removal of the bridge's address")
	g.a.MustRun("ip", "link", "del", bridge)
	works("the removal of the bridge")
}
