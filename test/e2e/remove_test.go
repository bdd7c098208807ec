package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// TestRemoveLeavesNothing takes away what a killed daemon left, then its
// records.
func TestRemoveLeavesNothing(t *testing.T) {
	g := newGround(t)
	theirs := g.a.MustRun("nft", "list", "tables")
	g.a.Catenet("network", "create", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	mine := g.a.Start("unshare", "-n", "sleep", "600")
	g.Eventually(soon, func() string { return attachable(g, mine) })
	catenetd := func(flags ...string) lab.Result {
		return g.a.Run(filepath.Join(lab.Binaries(t), "catenetd"), append([]string{"--run-dir", g.a.RunDir(), "--state-dir", g.a.StateDir()}, flags...)...)
	}
	if r := catenetd("--remove"); r.Code == 0 || !strings.Contains(r.Text(), "already: process") {
		t.Errorf("beside a daemon: exit status %d: %s", r.Code, r.Text())
	}
	web := status(g.a, "web")
	g.answers(g.out, "", "tcp", "192.0.2.1:8080", "web")

	g.a.Kill()
	if r := catenetd("--remove"); r.Code != 0 {
		t.Fatalf("exit status %d: %s", r.Code, r.Text())
	}
	if got := g.a.MustRun("ip", "-o", "link"); strings.Contains(got, "catenet") || strings.Contains(got, "ctn") {
		t.Errorf("links are left:\n%s", got)
	}
	if got := g.a.MustRun("nft", "list", "tables"); strings.Contains(got, "catenet") {
		t.Errorf("tables are left: %q (a daemon makes %q)", got, theirs)
	}
	if got := g.a.MustRun("nsenter", "-t", pid(mine), "-n", "sh", "-c", "ip -o link; nft list tables"); strings.Contains(got, "eth0") || strings.Contains(got, "catenet") {
		t.Errorf("in the attached namespace is left:\n%s", got)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(web.InitPID)); !os.IsNotExist(err) {
		t.Errorf("the container's process is still there: %v", err)
	}
	if _, err := os.Stat(g.a.RunDir()); !os.IsNotExist(err) {
		t.Errorf("the run folder is still there: %v", err)
	}

	if _, err := os.Stat(filepath.Join(g.a.StateDir(), "containers", web.ID, "log")); err != nil {
		t.Errorf("the container's log: %v", err)
	}

	g.a.Daemon()
	if got := g.a.Catenet("ps", "-a") + g.a.Catenet("network", "ls"); !strings.Contains(got, "web") || !strings.Contains(got, "front") {
		t.Errorf("its records are gone:\n%s", got)
	}
	g.a.Catenet("start", "web")
	g.a.Stop()
	if r := catenetd("--purge"); r.Code != 0 {
		t.Fatalf("exit status %d: %s", r.Code, r.Text())
	}
	if r := catenetd("--remove"); r.Code != 0 {
		t.Errorf("with nothing to remove: exit status %d: %s", r.Code, r.Text())
	}
	for _, dir := range []string{g.a.RunDir(), g.a.StateDir()} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
}

// TestRemoveTakesASocketElsewhere that a killed daemon has left.
func TestRemoveTakesASocketElsewhere(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	socket := filepath.Join(t.TempDir(), "socket")
	there := func() error { _, err := os.Lstat(socket); return err }
	h.StartDaemon("--listen=unix://" + socket)
	l.Eventually(soon, func() string {
		if err := there(); err != nil {
			return err.Error()
		}
		return ""
	})
	h.Kill()
	if err := there(); err != nil {
		t.Fatal(err)
	}
	late := h.Feed(`{"cniVersion":"1.1.0","name":"x"}`, "env", "CATENET_HOST=unix://"+socket, "CNI_COMMAND=DEL", "CNI_CONTAINERID=x", "CNI_IFNAME=eth0", filepath.Join(lab.Binaries(t), "catenet-cni"))
	calls := filepath.Join(filepath.Dir(socket), "calls")
	if _, err := os.Stat(calls); late.Code != 0 || err != nil {
		t.Fatalf("%s, %v", late.Text(), err)
	}
	r := h.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", h.RunDir(), "--state-dir", h.StateDir(), "--listen=unix://"+socket, "--remove")
	if r.Code != 0 {
		t.Errorf("exit status %d: %s", r.Code, r.Text())
	}
	if err := there(); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := os.Stat(calls); !os.IsNotExist(err) {
		t.Errorf("calls that were written down are still there: %v", err)
	}
}

// attachable attaches a namespace that a process is about to make.
func attachable(g *ground, p *lab.Process) string {
	if r := g.a.Try("attach", "--name", "mine", "--pid", pid(p), "--network", "front"); r.Code != 0 {
		return r.Text()
	}
	return ""
}

func pid(p *lab.Process) string { return strconv.Itoa(p.Pid) }

func TestUninstallRemovesFirst(t *testing.T) {
	t.Parallel()
	out := installer(t)("-n", "uninstall", "PREFIX=/x")
	before, _, found := strings.Cut(out, "rm -f")
	if !found || !strings.Contains(before, "/x/bin/catenetd --remove\n") {
		t.Errorf("make uninstall does\n%s", out)
	}
}
