package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/names"
)

// TestTheDurableRecordsAreLost with their journals: a start makes do with what there is.
func TestTheDurableRecordsAreLost(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front"})
	w.mustAttach("x", catenet.EndpointSpec{Network: "front"})
	st, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	w.closeNow()
	w.lose("state/catenet.*", "run/catenet.journal")
	w.boot(nil)
	if n := strings.Count(w.kernel.String(), "type bridge"); n != 1 {
		t.Errorf("%d bridges, want the predefined network's alone:\n%s", n, w.kernel)
	}
	if _, err := os.Stat(w.logPath(st.ID)); !os.IsNotExist(err) {
		t.Errorf("the log of a container that nobody knows: %v", err)
	}
	w.mustAttach("y")
}

// TestTheFilesOfRecordsAreLost, and their journals are not: all goes on.
func TestTheFilesOfRecordsAreLost(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front"})
	w.mustAttach("x", catenet.EndpointSpec{Network: "front"})
	_, err := w.run(catenet.SandboxSpec{Name: "c", Ports: []catenet.PortSpec{{Proto: "tcp", HostPort: 8080, HostPortEnd: 8080, Port: 80}}})
	must(t, err)
	want := w.outline()
	w.closeNow()
	w.lose("state/catenet.*", "run/live.db")
	w.boot(nil)
	if got := w.outline(); got != want {
		t.Errorf("with the files lost (-want +got):\n%s", lines(want, got))
	}
	must(t, w.Remove(ctx, "c", true))
	must(t, w.Remove(ctx, "x", false))
}

// TestTheLiveRecordsAreLost: no program goes on that nobody can stop.
func TestTheLiveRecordsAreLost(t *testing.T) {
	w := newWorld(t)
	st, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	w.closeNow()
	w.lose("run/live.*")
	must(t, os.MkdirAll(w.processDir(st.ID), 0o700)) // as the real process room does
	w.boot(nil)
	exit, err := w.processes.Wait(ctx, w.processDir(st.ID))
	if err != nil || exit.Code != 137 {
		t.Errorf("its program ended with %d, %v", exit.Code, err)
	}
	must(t, w.Start(ctx, "c"))
	if _, err := os.Stat(w.logPath(st.ID)); err != nil {
		t.Errorf("the log of a container on record: %v", err)
	}
}

// TestANetworkThatIsGoneCanBeLeft by a container that does not run.
func TestANetworkThatIsGoneCanBeLeft(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front"})
	_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep"}},
		Networks: []catenet.EndpointSpec{{Network: "front"}, {Network: "bridge"}}}, false)
	must(t, err)
	must(t, w.noNetwork("front"))
	if err := w.Start(ctx, "c"); !catenet.IsNotFound(err) || !strings.Contains(catenet.HintOf(err), "catenet network disconnect") {
		t.Errorf("%v, hint %q", err, catenet.HintOf(err))
	}
	must(t, w.Disconnect(ctx, "front", "c", false))
	must(t, w.Start(ctx, "c"))
	if err := w.Disconnect(ctx, "front", "c", true); !catenet.IsNotFound(err) {
		t.Errorf("a network that is not there: %v", err)
	}
}

// TestRemovalByForceDoesNotLoseToAStart has one start a container whenever it
// is down.
func TestRemovalByForceDoesNotLoseToAStart(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		st, err := w.run(catenet.SandboxSpec{Name: "c"})
		must(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if err := w.Start(ctx, st.ID); err != nil {
					return
				}
			}
		}()
		must(t, w.Remove(ctx, "c", true))
		<-done
	}
}

// TestADisconnectedLinkIsGone when the caller hears of it.
func TestADisconnectedLinkIsGone(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front"})
	st := w.mustAttach("x", catenet.EndpointSpec{Network: "front"}, catenet.EndpointSpec{Network: "bridge"})
	must(t, w.Disconnect(ctx, "front", "x", false))
	for _, ep := range st.Endpoints {
		if there := strings.Contains(w.kernel.String(), hostLink(ep)); there != (ep.Spec.Network != "front") {
			t.Errorf("link to %s there: %t", ep.Spec.Network, there)
		}
	}
}

// TestTheHostsNewServersAreWritten in the files of those that run.
func TestTheHostsNewServersAreWritten(t *testing.T) {
	w := newWorld(t)
	st, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	w.closeNow()
	conf := "nameserver 192.0.2.53\nsearch new.example\n"
	w.boot(nil)
	path := filepath.Join(w.filesDir(st.ID), "resolv.conf")
	must(t, names.WriteInPlace(filepath.Join(w.dir, "resolv.conf"), []byte(conf)))
	eventually(t, "the container searches new.example", func() bool {
		w.renewFiles()
		got, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(got), "search new.example")
	})
}
