package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestASecondDaemonIsRefused starts one with folders of its own where another
// serves: it would sweep away all that is not on its records.
func TestASecondDaemonIsRefused(t *testing.T) {
	g := newGround(t)
	g.idle("web")
	dir := t.TempDir()
	r := g.a.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", dir+"/run", "--state-dir", dir+"/state")
	if r.Code == 0 || !strings.Contains(r.Text(), "process "+strconv.Itoa(g.a.DaemonPid())) {
		t.Errorf("exit status %d: %s", r.Code, r.Text())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
	if got := g.a.Exec("web", "ip", "-4", "addr", "show", "eth0").Text(); !strings.Contains(got, "inet ") {
		t.Errorf("web has lost its link: %s", got)
	}
}

// TestAFailedStartLeavesNoPrograms has somebody else own our table.
func TestAFailedStartLeavesNoPrograms(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	// A pipe open at both ends: nft waits for more, and has the table meanwhile.
	h.Start("sh", "-c", "mkfifo $0 && exec 3<>$0 && echo 'add table inet catenet { flags owner; }' >&3 && exec nft -i <$0", filepath.Join(t.TempDir(), "rules"))
	l.Eventually(soon, func() string {
		if got := h.Run("nft", "list", "tables").Text(); !strings.Contains(got, "inet catenet") {
			return "there is no table: " + got
		}
		return ""
	})
	dir := t.TempDir()
	r := h.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", dir+"/run", "--state-dir", dir+"/state")
	if r.Code == 0 || !strings.Contains(r.Text(), "belongs to another running process") {
		t.Errorf("exit status %d: %s", r.Code, r.Text())
	}
	unmounted(t, dir)
}

// TestAStartThatCannotListenTouchesNothing: what is taken is noticed before
// the first change.
func TestAStartThatCannotListenTouchesNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Start("socat", "TCP-LISTEN:9090,bind=127.0.0.1,fork", "/dev/null")
	l.Eventually(soon, func() string {
		if got := h.Run("ss", "-Hltn").Text(); !strings.Contains(got, ":9090") {
			return "nobody listens: " + got
		}
		return ""
	})
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for arg, word := range map[string]string{"--metrics=127.0.0.1:9090": "serve metrics", "--listen=unix://" + dir + "/file": "is no socket"} {
		r := h.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", dir+"/run", "--state-dir", dir+"/state", arg)
		if r.Code == 0 || !strings.Contains(r.Text(), word) {
			t.Errorf("%s: exit status %d: %s", arg, r.Code, r.Text())
		}
		unmounted(t, dir)
		if got := h.Run("ip", "-br", "link").Text() + h.Run("nft", "list", "tables").Text(); strings.Contains(got, "br-") || strings.Contains(got, "catenet") {
			t.Errorf("%s: it left\n%s", arg, got)
		}
		if _, err := os.Stat(dir + "/run/catenet.sock"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its socket is left: %v", arg, err)
		}
	}
}

// unmounted wants no programs of a daemon with its folders in dir.
func unmounted(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("its programs are still mounted:\n%s", mounts)
	}
}

// TestTooFewFilesKeepADaemonFromStarting: it says which limit is too low, and
// leaves all as it is.
func TestTooFewFilesKeepADaemonFromStarting(t *testing.T) {
	g := newGround(t)
	for i := range 12 {
		g.idle(fmt.Sprintf("c%d", i))
	}
	g.serve("web", "-p", "8080:80")
	limit := g.a.MustRun("sh", "-c", "prlimit --raw --noheadings --nofile -o HARD -p $0", fmt.Sprint(g.a.DaemonPid()))
	g.limitFiles("64")
	g.a.Upgrade()
	g.Eventually(soon, func() string {
		if !strings.Contains(g.a.Log(), "may have 64, and needs") {
			return "an upgrade is not refused:\n" + g.a.Log()
		}
		return ""
	})
	g.limitFiles(limit)
	g.a.Catenet("ps")
	g.a.Kill()
	r := g.a.Run("sh", "-c", `ulimit -n 64 && exec "$@"`, "sh", filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", g.a.RunDir(), "--state-dir", g.a.StateDir())
	for _, words := range []string{"may have 64, and needs", "LimitNOFILE=", "ulimit -n"} {
		if r.Code != 1 || !strings.Contains(r.Text(), words) {
			t.Errorf("exit status %d, which does not say %q: %s", r.Code, words, r.Text())
		}
	}
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	g.a.Daemon()
	for _, sb := range append(strings.Fields(g.a.Catenet("ps", "-q", "--no-trunc")), "web") {
		if got := status(g.a, sb); got.State != catenet.StateRunning || len(got.Warnings) > 0 {
			t.Errorf("%s is %s: %v", got.Name, got.State, got.Warnings)
		}
	}
	if got := len(strings.Fields(g.a.Catenet("ps", "-q"))); got != 13 {
		t.Errorf("%d containers run, want 13", got)
	}
}

// limitFiles sets how many files the daemon may have open, until it is set to
// something else.
func (g *ground) limitFiles(to string) {
	g.T.Helper()
	g.a.MustRun("prlimit", "--pid", fmt.Sprint(g.a.DaemonPid()), "--nofile="+strings.TrimSpace(to)+":")
}
