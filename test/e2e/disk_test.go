package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// TestAFullDisk has no room for records: what is refused leaves nothing, what
// runs goes on, and with room again all is well without a restart.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24", "2001:db8:1::/64")
	state := g.a.StateDir()
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the daemon goes on with what it has open
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	g.a.Daemon()
	g.serve("web", "-p", "8080:80")
	fill := filepath.Join(state, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("a megabyte fits into half of one: this test proves nothing")
	}

	full := false
	for i := 0; i < 100 && !full; i++ { // a few find room in the file itself
		r := g.a.Try("network", "create", "--label", "long="+strings.Repeat("x", 3000), fmt.Sprintf("n%d", i))
		full = r.Code != 0
		if full && (r.Code != 1 || !strings.Contains(r.Stderr, "no space left") || !strings.Contains(r.Stderr, "free some space")) {
			t.Errorf("network create on a full disk: exit %d, %s", r.Code, r.Stderr)
		}
	}
	if !full {
		t.Fatal("a hundred networks find room: this test proves nothing")
	}
	g.a.Refused([]string{"free some space"}, "run", "-d", "--name", "late", "-p", "8081:80", "--label", "long="+strings.Repeat("x", 3000), "--", "sleep", "60")
	listed := func() string {
		return g.a.Catenet("network", "ls", "--format", "{{.Name}}") + g.a.Catenet("ps", "-a", "--format", "{{.Name}}")
	}
	bridges := func() int { return strings.Count("\n"+g.a.MustRun("ip", "-br", "link"), "\nbr-") }
	want := listed()
	if n := strings.Count("\n"+want, "\nn") - 1; bridges() != n || strings.Contains(want, "late") { // none is no bridge
		t.Errorf("%d bridges of\n%s", bridges(), want)
	}
	g.silent(g.a, "", "tcp", "127.0.0.1:8081")
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	g.a.Kill()
	g.a.Daemon()
	if got := listed(); got != want {
		t.Errorf("after a start there are\n%s\nand were\n%s", got, want)
	}

	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	g.a.Catenet("network", "create", "roomy")
	g.idle("late", "--network", "roomy", "-p", "8081:80")
}
