package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// TestFurtherAddressesOfTheResolver: a namespace has them as long as one of its
// endpoints is known by one, and not after a connect that failed.
func TestFurtherAddressesOfTheResolver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"m", "n"} {
		w.network(catenet.NetworkSpec{Name: name})
	}
	w.mustAttach("a", catenet.EndpointSpec{Network: "m"})
	wants := func(when string, want bool) {
		t.Helper()
		if got := strings.Contains(w.kernel.String(), "127.128.0.0/9"); got != want {
			t.Errorf("%s: %v", when, got)
		}
		if err := w.Check(ctx, "a"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	wants("one network", false)
	own := catenet.EndpointSpec{OwnResolver: true}
	for n := 1; ; n++ {
		w.kernel.FailAt(n, errors.New("broken"))
		_, err := w.Connect(ctx, "n", "a", own)
		w.kernel.FailAt(0, nil)
		if err == nil {
			break
		}
		wants(fmt.Sprintf("a connect that failed at %d", n), false)
	}
	wants("connected", true)
	w.restart()
	wants("after a start", true)
	must(t, w.Disconnect(ctx, "n", "a", false))
	wants("disconnected", false)
}

// TestCheckFindsWhatIsLost: a check says what of a sandbox somebody took away,
// and puts nothing back.
func TestCheckFindsWhatIsLost(t *testing.T) {
	for what, harm := range map[string]func(w *world, st catenet.SandboxStatus){
		"the link":   func(w *world, st catenet.SandboxStatus) { must(t, w.kernel.DeleteLinks(ctx, st.Endpoints[0].HostLink)) },
		"an address": func(w *world, st catenet.SandboxStatus) { w.kernel.Strip(st.Netns, "eth0") },
		"the shaper": func(w *world, st catenet.SandboxStatus) {
			must(t, w.kernel.DeleteLinks(ctx, kernel.ShaperLinkPrefix+catenet.ShortID(st.Endpoints[0].ID)))
		},
		"the bridge":   func(w *world, st catenet.SandboxStatus) { must(t, w.kernel.DeleteLinks(ctx, "lab0")) },
		"the firewall": func(w *world, _ catenet.SandboxStatus) { w.rules.Flush() },
		"the redirect": func(w *world, st catenet.SandboxStatus) {
			ns, err := w.kernel.Open(st.Netns)
			must(t, err)
			must(t, w.kernel.Dress(ctx, ns, kernel.Outfit{NoResolver: true}))
		},
		"a port on loopback": func(w *world, _ catenet.SandboxStatus) { must(t, w.ports.Restore(ctx, nil)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.network(catenet.NetworkSpec{Name: "n", Options: map[string]string{catenet.OptionBridge: "lab0"}})
			st, err := w.attachSpec(catenet.SandboxSpec{Name: "c", Ports: []catenet.PortSpec{{Proto: catenet.TCP, Port: 80}},
				Networks: []catenet.EndpointSpec{{Network: "n", Bandwidth: catenet.Bandwidth{Out: catenet.Rate{Bits: 1e6}}}}})
			must(t, err)
			must(t, w.Check(ctx, "c"))
			w.closeNow() // nobody repairs
			harm(w, st)
			for range 2 {
				if err := w.Check(ctx, "c"); !catenet.IsConflict(err) {
					t.Errorf("%v, want a conflict", err)
				}
			}
		})
	}
	w := newWorld(t)
	_, err := w.park("p", catenet.EndpointSpec{Network: "bridge"})
	must(t, err)
	must(t, w.Check(ctx, "p"))
	w.kernel.Adopt("/late/p")
	eventually(t, "p is a container", func() bool { st, err := w.Sandbox(ctx, "p"); return err == nil && !st.Expected })
	must(t, w.Check(ctx, "p"))
	if err := w.Check(ctx, "nobody"); !catenet.IsNotFound(err) {
		t.Error(err)
	}
}
