package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestRunOutlivesTheDaemon has a container write and end while no daemon is
// there, and whoever ran it in the foreground see both.
func TestRunOutlivesTheDaemon(t *testing.T) {
	g := newGround(t)
	for _, flags := range [][]string{{"--name", "stays"}, {"--name", "goes", "--rm"}} {
		name, on, done := flags[1], filepath.Join(t.TempDir(), "on"), filepath.Join(t.TempDir(), "done")
		ended := make(chan lab.Result, 1)
		go func() {
			script := `echo one; until [ -e "$0" ]; do sleep 0.05; done; echo two; echo three >&2; touch "$1"; exit 7`
			ended <- g.a.Try(append(append([]string{"run"}, flags...), "--", "sh", "-c", script, on, done)...)
		}()
		g.Eventually(soon, func() string {
			if r := g.a.Try("logs", name); !strings.Contains(r.Stdout, "one") {
				return name + " does not run: " + r.Text()
			}
			return ""
		})
		// Its first line may be there before its start is over, and answered:
		// what waits for the container waits for that.
		g.a.Refused([]string{"nosuch"}, "network", "disconnect", "nosuch", name)
		g.a.Kill()
		if err := os.WriteFile(on, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		g.Eventually(soon, func() string {
			if _, err := os.Stat(done); err != nil {
				return err.Error()
			}
			return ""
		})
		g.a.Daemon()
		r := <-ended
		if r.Code != 7 || r.Stdout != "one\ntwo\n" || !strings.HasSuffix(r.Stderr, "three\n") || !strings.Contains(r.Stderr, "is waited for") {
			t.Errorf("%s: exit status %d, %q, %q", name, r.Code, r.Stdout, r.Stderr)
		}
	}
	if got := status(g.a, "stays"); got.State != catenet.StateExited || got.ExitCode != 7 {
		t.Errorf("stays is %s with %d", got.State, got.ExitCode)
	}
}
