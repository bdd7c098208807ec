package e2e

import (
	"fmt"
	"os"
	"testing"
)

// TestTooFewFiles has a running daemon come to the end of 64 open files: what
// is refused names the limit and how to raise it, and leaves nothing; what runs
// goes on; and with containers gone there is room again.
func TestTooFewFiles(t *testing.T) {
	g := newGround(t)
	hand := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", hand)
	defer g.a.MustRun("ip", "netns", "del", hand)
	g.a.Catenet("network", "create", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.a.MustRun("prlimit", "--pid", fmt.Sprint(g.a.DaemonPid()), "--nofile=64:64")
	verbs := [][]string{
		{"run", "-d", "--name", "late", "--network", "front", "--", "sleep", "600"},
		{"run", "-d", "--name", "ports", "--network", "front", "-p", "9000-9040:80-120", "--", "sleep", "600"},
		{"attach", "--name", "hand", "--netns", "/run/netns/" + hand, "--network", "front", "-p", "9100-9140:80-120"},
	}
	// Few enough are left that none of those fits.
	filled := 0
	for ; filled < 30; filled++ {
		r := g.a.Try("run", "-d", "--name", fmt.Sprint("c", filled), "--network", "front", "--", "sleep", "600")
		if r.Code != 0 {
			break
		}
	}
	if filled == 30 || filled < 1 {
		t.Fatalf("%d containers fit into 64 files", filled)
	}
	for range 4 { // nothing is left that would make it worse
		if n := g.refusedOrDone(verbs, "too many open files", "may have 64", "LimitNOFILE=", "ulimit -n"); n != len(verbs) {
			t.Fatalf("%d of %d verbs were refused", n, len(verbs))
		}
	}
	before := g.files()
	g.readingGoesOn()
	g.a.Catenet("rm", "-f", "c0")
	g.a.Catenet(verbs[0]...)
	g.a.Catenet("rm", "-f", "late")
	g.a.Catenet("attach", "--name", "hand", "--netns", "/run/netns/"+hand, "--network", "front", "-p", "9100:80")
	g.a.Catenet("detach", "hand")
	g.Eventually(soon, func() string {
		if now := g.files(); now >= before {
			return fmt.Sprintf("the daemon had %d files open, and has %d with a container less", before, now)
		}
		return ""
	})
}

// files counts the open files of the daemon.
func (g *ground) files() int {
	g.T.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.a.DaemonPid()))
	if err != nil {
		g.T.Fatal(err)
	}
	return len(open)
}
