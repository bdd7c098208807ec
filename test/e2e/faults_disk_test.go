package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet/test/lab"
)

// folders are those that a daemon writes to.
var folders = map[string]func(*lab.Host) string{"state": (*lab.Host).StateDir, "run": (*lab.Host).RunDir}

// newDisk is a ground whose daemon has one of its folders on a file system of
// its own. Containers there are web, who answers, near beside it, and stopped;
// hand is a namespace of somebody else's.
func newDisk(t *testing.T, folder func(*lab.Host) string, mount ...string) (g *ground, hand string) {
	t.Helper()
	t.Parallel()
	l := lab.New(t)
	g = &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24", "2001:db8:1::/64")
	path := folder(g.a)
	if err := os.Mkdir(path, 0o711); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", append(mount, path)...)
	t.Cleanup(func() { // the daemon goes on with what it has open
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && err != syscall.EINVAL { // the test has
			t.Error(err)
		}
	})
	hand = g.Name("hand")
	g.a.MustRun("ip", "netns", "add", hand)
	t.Cleanup(func() { g.a.MustRun("ip", "netns", "del", hand) })
	g.a.Daemon()
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("network", "create", "back")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.idle("near", "--network", "front")
	g.idle("stopped", "--network", "front")
	g.a.Catenet("stop", "-t", "0", "stopped")
	return g, hand
}

// changing are verbs that put something on record, reading are those that do
// not.
func changing(hand string) [][]string {
	long := "long=" + strings.Repeat("x", 3000)
	return [][]string{
		{"network", "create", "--internal", "--subnet", "10.99.0.0/24", "more"},
		{"network", "update", "--label-add", long, "back"},
		{"network", "connect", "back", "near"},
		{"run", "-d", "--name", "late", "-p", "8081:80", "--label", long, "--", "sleep", "60"},
		{"start", "stopped"},
		{"attach", "--name", "hand", "--netns", "/run/netns/" + hand, "--network", "front", "-p", "8082:80", "--label", long},
		{"network", "disconnect", "front", "near"},
		{"stop", "-t", "0", "near"},
		{"rm", "-f", "near"},
		{"network", "rm", "back"},
		{"network", "prune", "-f"},
	}
}

// readingGoesOn, and so does what runs.
func (g *ground) readingGoesOn() {
	g.T.Helper()
	for _, verb := range []string{"ps", "info", "network ls", "inspect web", "topology", "port web", "network inspect front"} {
		g.a.Catenet(strings.Fields(verb)...)
	}
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")
	if got := g.a.Run("nsenter", "--net="+g.ns("web"), "--", "dig", "+short", "@127.0.0.11", "web").Text(); got != g.addr4("web").String() {
		g.T.Errorf("web is %q", got)
	}
}

// refusedOrDone tries verbs: each is done, or refused with those words, and
// then nothing is as much as begun. It returns how many were refused.
func (g *ground) refusedOrDone(verbs [][]string, words ...string) (refused int) {
	g.T.Helper()
	for _, verb := range verbs {
		what := fmt.Sprintf("%.50s", strings.Join(verb, " "))
		g.consistent(nil) // what the last verb has taken away is buried
		before := g.kernel() + g.all()
		r := g.a.Try(verb...)
		if r.Code == 0 || r.Code == 1 && strings.Contains(r.Stderr, "there is no") { // what another verb would have made, or has removed
			continue
		}
		refused++
		for _, w := range words {
			if r.Code != 1 || !strings.Contains(r.Stderr, w) {
				g.T.Errorf("%s: exit %d, which does not say %q: %s", what, r.Code, w, r.Stderr)
			}
		}
		g.Eventually(soon, func() string { // links are buried behind the caller's back
			if now := g.kernel() + g.all(); now != before {
				return fmt.Sprintf("%s was refused, and changed (-was +is)\n%s", what, cmp.Diff(strings.Fields(before), strings.Fields(now)))
			}
			return ""
		})
	}
	return refused
}

// kernel is what the host has of ours: its links and tables.
func (g *ground) kernel() string {
	all := strings.FieldsFunc(g.a.MustRun("sh", "-c", "ip -br link | cut -d' ' -f1; nft list table inet catenet; ls "+filepath.Join(g.a.RunDir(), "netns")),
		func(r rune) bool { return strings.ContainsRune(" \t\n,", r) })
	slices.Sort(all) // elements stand in any order
	return strings.Join(all, " ")
}

// TestAFullDisk has no room for records: what is refused leaves nothing, what
// runs goes on, and with room again all is well without a restart.
func TestAFullDisk(t *testing.T) {
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			g, hand := newDisk(t, folder, "-t", "tmpfs", "-o", "size=1m,mode=711", "tmpfs")
			fill := filepath.Join(folder(g.a), "fill")
			if err := os.WriteFile(fill, make([]byte, 2<<20), 0o600); err == nil {
				t.Fatal("two megabytes fit into one: this test proves nothing")
			}
			// A few find room in the files themselves.
			for i := 0; name == "state" && i < 100; i++ {
				subnet := fmt.Sprintf("10.98.%d.0/24", i)
				if r := g.a.Try("network", "create", "--subnet", subnet, "--label", "long="+strings.Repeat("x", 3000), fmt.Sprintf("n%d", i)); r.Code != 0 {
					break
				}
			}
			g.a.Catenet("logs", "web")
			if n := g.refusedOrDone(changing(hand), "no space left", "free some space"); n < 2 {
				t.Errorf("%d verbs were refused: this test proves little", n)
			}
			g.readingGoesOn()
			want := g.all()
			g.a.Kill()
			g.a.Daemon()
			if got := g.all(); got != want {
				t.Errorf("after a start there is\n%s\nand was\n%s", got, want)
			}
			g.readingGoesOn()
			if err := os.Remove(fill); err != nil {
				t.Fatal(err)
			}
			g.a.Catenet("network", "create", "roomy")
			g.idle("later", "--network", "roomy", "-p", "8083:80")
			g.readingGoesOn()
		})
	}
}

// TestADiskThatFails is made read-only by the kernel, as ext4 is over a bad
// sector. What runs goes on, and everything again with a new, empty disk.
func TestADiskThatFails(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk")
	command(t, "truncate", "-s", "16M", image)
	command(t, "mkfs.ext4", "-q", image)
	g, hand := newDisk(t, (*lab.Host).StateDir, "-o", "loop,errors=remount-ro", image)
	command(t, "mount", "-o", "remount,abort", g.a.StateDir())
	words := []string{"read-only file system", "mount it read-write", g.a.StateDir()}
	if n := g.refusedOrDone(changing(hand), words...); n < 5 {
		t.Errorf("%d verbs were refused: this test proves little", n)
	}
	g.readingGoesOn()

	want := g.all("web", "stopped") // how near has ended is not on record
	g.a.Kill()
	r := g.a.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", g.a.RunDir(), "--state-dir", g.a.StateDir())
	for _, w := range words {
		if r.Code != 1 || !strings.Contains(r.Text(), w) {
			t.Errorf("a start: exit %d, which does not say %q: %s", r.Code, w, r.Text())
		}
	}
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	command(t, "umount", "--lazy", g.a.StateDir()) // the containers' logs are still open there
	g.a.Daemon()
	if got := g.all("web", "stopped"); got != want {
		t.Errorf("with a new disk there is\n%s\nand was\n%s", got, want)
	}
	g.readingGoesOn()
	g.a.Catenet("start", "stopped")
	g.a.Catenet("rm", "-f", "near")
	g.a.Catenet("network", "rm", "back")
}

// command runs a program of this machine that has to succeed.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}
