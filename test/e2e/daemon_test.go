package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestTablesWithoutOwnerAreWatched: where the kernel gives no table an owner,
// a flush takes our rules, and they come back.
func TestTablesWithoutOwnerAreWatched(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24")
	// The daemon looks whether it can own a table of that name. One that is
	// there without an owner cannot be owned any more.
	g.a.MustRun("nft", "add", "table", "inet", "catenet-probe")
	g.a.Daemon()
	var info catenet.Info
	g.a.Inspect(&info, "info")
	if info.Firewall.Owner {
		t.Fatal("the tables have an owner: this test proves nothing")
	}
	g.serve("web", "-p", "8080:80")
	tables := g.a.MustRun("nft", "list", "tables")
	g.a.MustRun("nft", "flush", "ruleset")
	g.Eventually(soon, func() string {
		if got := g.a.MustRun("nft", "list", "tables"); got != strings.Replace(tables, "table inet catenet-probe\n", "", 1) {
			return "after a flush there are the tables " + got
		}
		return ""
	})
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
}

// TestTheSocketIsOfTheGroup that is called catenet, where there is one.
func TestTheSocketIsOfTheGroup(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	groups := filepath.Join(h.Dir, "group")
	if err := os.WriteFile(groups, []byte("root:x:0:\ncatenet:x:4711:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Start("unshare", "--mount", "sh", "-c", "mount --bind $0 /etc/group && exec $1 --run-dir $2 --state-dir $3",
		groups, filepath.Join(lab.Binaries(t), "catenetd"), h.RunDir(), h.StateDir())
	l.Eventually(soon, func() string {
		if got := h.Run("stat", "-c", "%g %a", h.Socket()).Text(); got != "4711 660" {
			return fmt.Sprintf("group and mode of the socket are %q, want 4711 660", got)
		}
		return ""
	})
}

// TestAContainerSeesNoOtherNamespace: no place by which it could enter, or
// keep, another's.
func TestAContainerSeesNoOtherNamespace(t *testing.T) {
	g := newGround(t)
	g.idle("web")
	pins := filepath.Join(g.a.RunDir(), "netns")
	if got := g.a.MustRun("ls", pins); got == "" {
		t.Fatal("there is no namespace to be seen: this test proves nothing")
	}
	if got := g.a.Catenet("run", "--rm", "--", "ls", pins); got != "" {
		t.Errorf("the container sees %q", got)
	}
}

// TestExecHasTheContainersEnvironment, with its own variables over it.
func TestExecHasTheContainersEnvironment(t *testing.T) {
	g := newGround(t)
	g.idle("web", "--env", "COLOUR=blue", "--env", "SIZE=small")
	if got := g.a.Catenet("exec", "--env", "SIZE=big", "web", "--", "sh", "-c", "echo $COLOUR $SIZE"); got != "blue big" {
		t.Errorf("a program beside it has %q, want blue big", got)
	}
}

// TestWhoRemovesTheRunFolder takes the socket and what tells of containers: the
// daemon makes its socket anew, and the containers can be ended still.
func TestWhoRemovesTheRunFolder(t *testing.T) {
	g := newGround(t)
	g.idle("web")
	g.a.Catenet("run", "-d", "--name", "deaf", "--", "sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600")
	pids := []int{status(g.a, "web").InitPID, status(g.a, "deaf").InitPID}
	for _, gone := range []string{g.a.Socket(), filepath.Join(g.a.RunDir(), "containers")} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	g.Eventually(soon, func() string {
		if r := g.a.Try("info"); r.Code != 0 {
			return r.Text()
		}
		return ""
	})
	g.a.Catenet("stop", "-t", "1", "web")
	g.a.Catenet("rm", "-f", "deaf")
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !os.IsNotExist(err) {
			t.Errorf("process %d is there: %v", pid, err)
		}
	}
	if got := g.a.Catenet("ps", "-a", "--format", "{{.Name}} {{.State}} {{.ExitCode}}"); got != "web exited 255" {
		t.Errorf("containers: %q", got)
	}
	g.a.Catenet("start", "web")
}
