package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// TestNoQuickReuseAfterAStart has an address given back just before the daemon
// goes.
func TestNoQuickReuseAfterAStart(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "two", IPv6: true, Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}, {Subnet: netip.MustParsePrefix("fd00:9::/64")}}})
	old := w.mustAttach("a", catenet.EndpointSpec{Network: "two"}).Endpoints[0]
	must(t, w.Remove(ctx, "a", false))
	w.restart()
	got := w.mustAttach("b", catenet.EndpointSpec{Network: "two"}).Endpoints[0]
	if got.IPv4 == old.IPv4 || got.IPv6 == old.IPv6 {
		t.Errorf("b has %s and %s, which a had a moment ago", got.IPv4, got.IPv6)
	}
	must(t, w.Remove(ctx, "b", false))
	must(t, w.noNetwork("two"))
	w.network(catenet.NetworkSpec{Name: "two", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}}})
	if got := w.mustAttach("c", catenet.EndpointSpec{Network: "two"}).Endpoints[0].IPv4; got != old.IPv4 {
		t.Errorf("a new network begins at %s", got)
	}
}

// TestARestartIsNotItsLastEnd asks of a container between the record of its
// second start and its program.
func TestARestartIsNotItsLastEnd(t *testing.T) {
	w := newWorld(t)
	st, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	w.processes.End(w.processDir(st.ID), 3)
	if code, err := w.Wait(ctx, "c", func() {}); err != nil || code != 3 {
		t.Fatal(code, err)
	}
	reached, goOn := make(chan struct{}), make(chan struct{})
	w.processes.OnStart = func(kernel.Container) error {
		close(reached)
		<-goOn
		return nil
	}
	started, waited := make(chan error, 1), make(chan int, 1)
	go func() { started <- w.Start(ctx, "c") }()
	<-reached
	go func() {
		code, err := w.Wait(ctx, "c", func() {})
		if err != nil {
			t.Error(err)
		}
		waited <- code
	}()
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(ctx, "c", 0) }()
	select {
	case code := <-waited:
		t.Errorf("who waits for a container that is being started is told %d, of its last run", code)
	case err := <-stopped:
		t.Errorf("a container that is being started counts as stopped: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	must(t, <-started)
	must(t, <-stopped)
	if code := <-waited; code != 137 {
		t.Errorf("exit code %d", code)
	}
}

// TestAPortThatSomebodyTookMeanwhile is no reason to refuse anything else.
func TestAPortThatSomebodyTookMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "two"})
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8080:80")})
	must(t, err)
	w.closeNow()
	stranger, err := w.ports.Hold(ctx, kernel.HeldPort{Proto: "tcp", IP: addr("0.0.0.0"), Port: 8080})
	must(t, err)
	w.boot(nil)
	_, err = w.Connect(ctx, "two", "a", catenet.EndpointSpec{})
	must(t, err)
	must(t, w.Disconnect(ctx, "two", "a", false))
	if got := w.warnings(); !strings.Contains(got, "container a is not as it should be") || !strings.Contains(got, "8080") {
		t.Errorf("warnings: %q", got)
	}
	must(t, stranger.Close())
	for _, port := range []string{"8080:80", "127.0.0.1:8080:80"} {
		if _, err := w.attachSpec(catenet.SandboxSpec{Name: "b", Ports: specs(t, port)}); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "container a") {
			t.Errorf("a port that is a's, if not held: %v", err)
		}
	}
	w.locked(func() { w.sandboxes[st.ID].ailment.next = time.Now() })
	w.repair(ctx, nil)
	if got := w.warnings(); got != "" {
		t.Errorf("warnings once the port is free: %q", got)
	}
	if held := w.ports.String(); !strings.HasPrefix(held, "1 held") {
		t.Error(held)
	}
	must(t, w.Remove(ctx, "a", false))
	_, err = w.attachSpec(catenet.SandboxSpec{Name: "b", Ports: specs(t, "8080:80")})
	must(t, err)
}

// TestAStartTellsHowFarItIs: of each sandbox, to the last.
func TestAStartTellsHowFarItIs(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.mustAttach(name)
	}
	var mu sync.Mutex
	told := map[string]bool{}
	w.progress = func(doing string, done, of int) {
		mu.Lock()
		defer mu.Unlock()
		told[fmt.Sprintf("%s: %d of %d", doing, done, of)] = true
	}
	w.restart()
	for done := range 4 {
		if line := fmt.Sprintf("restoring containers: %d of 3", done); !told[line] {
			t.Errorf("%q was not told, but %v", line, told)
		}
	}
}
