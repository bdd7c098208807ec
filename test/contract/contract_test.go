// Package contract runs the CLI's scripts, which describe it on an engine in
// memory (api/apitest), on the real daemon as well: a twin that drifts from
// what it stands for proves nothing.
package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/script"
)

func TestMain(m *testing.M) { lab.Main(m) }

// scripts are those that hold on any engine; the other, usage, needs none.
var scripts = []string{"attach", "change", "docker", "events", "info", "network", "run", "topology"}

// comparison is testscript's own cmp, which takes every byte for important.
var comparison = regexp.MustCompile(`(?m)^cmp `)

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range scripts {
		b, err := os.ReadFile(filepath.Join("../../cmd/catenet/testdata", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), comparison.ReplaceAll(b, []byte("same ")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commands := script.Commands()
	commands["same"], commands["listening"], commands["hangup"] = same, listening, hangUp
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           script.Condition(true),
		Cmds:                commands,
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			l := lab.New(tb)
			h := l.Host("a")
			h.Daemon()
			env.Values["host"] = h
			env.Setenv("CATENET_HOST", "unix://"+h.Socket())
			env.Setenv("PATH", lab.Binaries(tb)+":"+env.Getenv("PATH"))
			// A namespace to be attached by its path, and one by a process.
			path := filepath.Join(env.WorkDir, "relative/path")
			h.MustRun("sh", "-c", `mkdir -p "$(dirname "$0")" && touch "$0" && unshare --net="$0" true`, path)
			env.Defer(func() { h.MustRun("umount", path) })
			env.Setenv("PID", alone(l, h))
			return nil
		},
	})
}

// alone runs a program in a network namespace of its own and returns its
// process ID.
func alone(l *lab.Lab, h *lab.Host) string {
	p := h.Start("unshare", "--net", "sleep", "600")
	l.Eventually(10*time.Second, func() string {
		own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.Pid))
		if outside := strings.TrimSpace(h.MustRun("readlink", "/proc/self/ns/net")); err != nil || own == outside {
			return "no namespace of its own yet"
		}
		return ""
	})
	return strconv.Itoa(p.Pid)
}

// listening waits until somebody is connected to the daemon.
func listening(ts *testscript.TestScript, _ bool, _ []string) {
	h := ts.Value("host").(*lab.Host)
	connected := regexp.MustCompile(` 03 +\d+ ` + regexp.QuoteMeta(h.Socket()) + `\n`) // the state of net/unix, see proc(5)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// A connection belongs to the namespace of who made it: this one.
		if b, err := os.ReadFile("/proc/net/unix"); err != nil || connected.Match(b) {
			ts.Check(err)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nobody listens")
		}
	}
}

// hangUp ends the streams that a daemon has: it ends, and another one starts.
func hangUp(ts *testscript.TestScript, _ bool, _ []string) {
	h := ts.Value("host").(*lab.Host)
	h.Stop()
	h.Daemon()
}

// same compares two texts but for what differs between any two daemons.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same file golden")
	}
	got, want := plain(ts.ReadFile(args[0])), plain(ts.ReadFile(args[1]))
	if got != want {
		ts.Fatalf("%s and %s differ (-want +got):\n%s", args[0], args[1], cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
}

// plain leaves out IDs, times, ports that nobody asked for, what a host is and
// has, and the widths of columns and boxes that follow.
func plain(text string) string {
	for _, r := range []struct{ differs, to string }{
		{`\b[0-9a-f]{64}\b`, "ID"},
		{`\b[0-9a-f]{12}\b`, "ID"},
		{`\bUp [A-Za-z0-9 ]*?(  |\n)`, "Up TIME$1"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`, "TIME"},
		{`:(3[2-9]|[45]\d|6[0-6])\d{3}\b`, ":PORT"}, // of the ephemeral ones
		{`╔═ \S+ `, "╔═ HOST "},
		{`kernel \S+ · catenet \S+ `, "kernel · catenet "},
		{`═+`, "═"},
		{`─+`, "─"},
		{` +([│║])`, " $1"},
		{`  +`, "  "},
	} {
		text = regexp.MustCompile(r.differs).ReplaceAllString(text, r.to)
	}
	return text
}
