package firewall

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestFlushDoesNothing: with an owner, the flush of somebody else leaves our
// tables alone.
func TestFlushDoesNothing(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	f := open(t, ns, nft.Options{})
	must(t, f.Restore(t.Context(), []Network{front}, nil))
	before := ns.Run("nft", "list", "ruleset")
	ns.Run("nft", "add table inet other")
	ns.Run("nft", "flush", "ruleset")
	if after := ns.Run("nft", "list", "ruleset"); after != before {
		t.Errorf("a foreign flush left:\n%s", after)
	}
	if out, err := ns.Try("nft", "delete", "table", "inet", "catenet"); err == nil {
		t.Errorf("somebody else could delete our table: %s", out)
	}
}

// TestRemove: nothing of ours is left, also of what an earlier daemon did.
func TestRemove(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	ns.Run("iptables-nft", "-P", "FORWARD", "DROP")
	before := ns.Run("nft", "list", "ruleset")
	f := open(t, ns, nft.Options{NoOwner: true})
	must(t, f.Restore(t.Context(), []Network{front}, manyPorts(3)))
	ns.MustDo(func() error { return f.AllowForward(t.Context()) })
	if ns.Run("nft", "list", "ruleset") == before {
		t.Error("nothing was done")
	}
	later := open(t, ns, nft.Options{NoOwner: true})
	ns.MustDo(func() error { return later.Remove(t.Context()) })
	if after := ns.Run("nft", "list", "ruleset"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

// watch runs f.Watch in its namespace until the test ends.
func watch(t testing.TB, ns *kerneltest.NS, f *Firewall) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ns.Do(func() error { return f.Watch(ctx) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
}

// TestBackAfterFlush: without an owner, they are back well within a second,
// whatever was done to them.
func TestBackAfterFlush(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	f := open(t, ns, nft.Options{NoOwner: true})
	must(t, f.Restore(t.Context(), []Network{front, back}, []Port{publish(catenet.TCP, "0.0.0.0:80", "172.18.0.2:80", front.ID)}))
	list := func() string {
		inet, _ := ns.Try("nft", "list", "table", "inet", "catenet") // the error is part of the text
		bridge, _ := ns.Try("nft", "list", "table", "bridge", "catenet")
		return normal(inet + bridge)
	}
	want := list()
	watch(t, ns, f)
	for _, harm := range []string{
		"flush ruleset",
		"delete table inet catenet",
		"delete table bridge catenet",
		"flush chain inet catenet guard",
		"flush chain inet catenet into-back00000000",
		"flush set inet catenet bridges",
		"flush map inet catenet any4",
		"add rule inet catenet forward accept",
		"insert rule inet catenet guard accept",
		"add chain inet catenet stranger",
		"add set inet catenet stranger { type ipv4_addr; }",
		"add element inet catenet subnets4 { 10.0.0.0/8 : accept }",
	} {
		ns.Run("nft", strings.Fields(harm)...)
		start := time.Now()
		for list() != want {
			if time.Since(start) > time.Second {
				t.Fatalf("a second after `nft %s` the ruleset is:\n%s", harm, list())
			}
		}
		t.Logf("%-60s mended after %v", harm, time.Since(start).Round(time.Millisecond))
	}
}

// TestTakeover: a daemon that was killed leaves tables without an owner, in
// force; the next one takes them over and writes only what differs.
func TestTakeover(t *testing.T) {
	if path := os.Getenv("CATENET_TEST_HOLD"); path != "" {
		hold(path)
	}
	t.Parallel()
	w := newWorld(t, 1, nft.Options{})
	child := exec.Command(os.Args[0], "-test.run", "^TestTakeover$", "-test.v")
	child.Env = append(os.Environ(), "CATENET_TEST_HOLD="+w.host.Path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	ready := false
	for s := bufio.NewScanner(out); !ready && s.Scan(); {
		ready = strings.Contains(s.Text(), "holding")
	}
	serve(t, w.a, "tcp", ":80")
	if err := w.f.Restore(t.Context(), []Network{front}, nil); !catenet.IsConflict(err) {
		t.Errorf("taking the tables of a living daemon: %v", err)
	}
	must(t, child.Process.Kill())
	if err := child.Wait(); err == nil {
		t.Error("the child was not killed")
	}
	reaches(t, "outside, while there is no daemon", w.outside, "tcp", "192.0.2.1:8080", "192.0.2.2")
	serve(t, w.b, "tcp", ":80")
	must(t, w.f.Restore(t.Context(), []Network{front}, []Port{publish(catenet.TCP, "0.0.0.0:8080", "172.18.0.3:80", front.ID)}))
	reaches(t, "outside", w.outside, "tcp", "192.0.2.1:8080", "192.0.2.2")
	if repaired, err := w.f.Check(t.Context()); err != nil || repaired {
		t.Errorf("a second look wrote again: %v %v", repaired, err)
	}
	w.host.Run("nft", "flush", "ruleset")
	reaches(t, "outside, after a foreign flush", w.outside, "tcp", "192.0.2.1:8080", "192.0.2.2")
}

// hold is the child: it makes the tables in the namespace and keeps them
// until it is killed.
func hold(path string) {
	runtime.LockOSThread()
	fd, err := os.Open(path)
	if err == nil {
		err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET)
	}
	var c *nft.Conn
	if err == nil {
		c, err = nft.Open(nft.Options{})
	}
	if err == nil {
		f := New(c, foreign.New(c, inetTable.Name), slog.Default())
		err = f.Restore(context.Background(), []Network{front}, []Port{{
			Proto: catenet.TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080,
			To: netip.MustParseAddrPort("172.18.0.2:80"), Network: front.ID,
		}})
	}
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("holding\n")
	select {}
}
