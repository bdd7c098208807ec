package engine

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// openAndClosed is two networks, one with a way out and one without.
func (w *world) openAndClosed() []catenet.EndpointSpec {
	w.network(catenet.NetworkSpec{Name: "open"})
	w.network(catenet.NetworkSpec{Name: "closed", Internal: true})
	return []catenet.EndpointSpec{{Network: "open"}, {Network: "closed"}}
}

var web = []catenet.PortSpec{{Proto: "tcp", Port: 80, HostPort: 8080, HostPortEnd: 8080}}

// published is how many ports a container has, and what it is warned of.
func (w *world) published(name string) (int, string) {
	w.t.Helper()
	st, err := w.Sandbox(ctx, name)
	must(w.t, err)
	return len(st.Bindings), strings.Join(st.Warnings, "\n")
}

func TestPortsComeBackWithTheWayOut(t *testing.T) {
	w := newWorld(t)
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "x", Networks: w.openAndClosed(), Ports: web})
	must(t, err)
	_, plain := w.published("x")
	must(t, w.Disconnect(ctx, "open", "x", false))
	if n, warning := w.published("x"); n != 0 || !strings.Contains(warning, "8") || !strings.Contains(warning, "no network of container") {
		t.Errorf("without a way out: %d ports, %q", n, warning)
	}
	w.network(catenet.NetworkSpec{Name: "closed2", Internal: true})
	_, err = w.Connect(ctx, "closed2", "x", catenet.EndpointSpec{})
	must(t, err)
	if _, warning := w.published("x"); strings.Count(warning, "no network of container") != 1 {
		t.Errorf("warned twice: %q", warning)
	}
	_, err = w.Connect(ctx, "open", "x", catenet.EndpointSpec{})
	must(t, err)
	if n, warning := w.published("x"); n != 1 || warning != plain {
		t.Errorf("with a way out again: %d ports, %q, want %q", n, warning, plain)
	}
}

func TestAContainerStartsWithoutAWayOutForItsPorts(t *testing.T) {
	w := newWorld(t)
	_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Networks: w.openAndClosed(), Ports: web,
		Process: &catenet.Process{Args: []string{"sleep"}}}, true)
	must(t, err)
	must(t, w.Stop(ctx, "c", 0))
	must(t, w.Disconnect(ctx, "open", "c", false))
	must(t, w.Start(ctx, "c"))
	if n, warning := w.published("c"); n != 0 || !strings.Contains(warning, "no network of container") {
		t.Errorf("%d ports, %q", n, warning)
	}
}

func TestPublishAllIsNoRequestForAWayOut(t *testing.T) {
	w := newWorld(t)
	expose := []catenet.PortSpec{{Proto: "tcp", Port: 80}}
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "x", Networks: w.openAndClosed()[1:], PublishAll: true, Expose: expose})
	must(t, err)
	if n, warning := w.published("x"); n != 0 || strings.Contains(warning, "internal") {
		t.Errorf("%d ports, %q", n, warning)
	}
}

// TestDisconnectNeedsNoLink has the bridge or the container's own end go
// before its network is left.
func TestDisconnectNeedsNoLink(t *testing.T) {
	for what, takeAway := range map[string]func(w *world, st catenet.SandboxStatus){
		"bridge": func(w *world, _ catenet.SandboxStatus) { w.kernel.Break("open0") },
		"link":   func(w *world, st catenet.SandboxStatus) { w.kernel.Break(hostLink(st.Endpoints[0])) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.network(catenet.NetworkSpec{Name: "open", Options: map[string]string{"com.docker.network.bridge.name": "open0"}})
			w.network(catenet.NetworkSpec{Name: "other"})
			st := w.mustAttach("x", catenet.EndpointSpec{Network: "open", GwPriority: 1}, catenet.EndpointSpec{Network: "other"})
			w.cancel() // nobody repairs
			takeAway(w, st)
			must(t, w.Disconnect(ctx, "open", "x", false))
			if n := strings.Count(w.kernel.String(), "route add 0.0.0.0/0"); n != 1 {
				t.Errorf("%d default routes inside\n%s", n, w.kernel)
			}
		})
	}
}

// TestAContainerStartsWithoutNetworks has one leave, before its first start,
// its way out, and another all that it has: it has lo and nothing else then,
// as with Docker.
func TestAContainerStartsWithoutNetworks(t *testing.T) {
	w := newWorld(t)
	spec := catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Networks: w.openAndClosed(), Ports: web,
		Process: &catenet.Process{Args: []string{"sleep"}}}
	_, err := w.CreateSandbox(ctx, spec, false)
	must(t, err)
	must(t, w.Disconnect(ctx, "open", "c", false))
	must(t, w.Start(ctx, "c"))
	if n, warning := w.published("c"); n != 0 || !strings.Contains(warning, "no network of container") {
		t.Errorf("without a way out: %d ports, %q", n, warning)
	}

	spec.Name, spec.Networks = "d", spec.Networks[:1]
	_, err = w.CreateSandbox(ctx, spec, false)
	must(t, err)
	must(t, w.Disconnect(ctx, "open", "d", false))
	must(t, w.Start(ctx, "d"))
	st, err := w.Sandbox(ctx, "d")
	must(t, err)
	if len(st.Endpoints)+len(st.Bindings) != 0 || st.NetnsPath == "" || st.State != catenet.StateRunning {
		t.Errorf("without a network: %+v", st)
	}
	_, err = w.Connect(ctx, "open", "d", catenet.EndpointSpec{})
	must(t, err)
	if n, _ := w.published("d"); n != 1 {
		t.Errorf("in a network again: %d ports", n)
	}
}

// TestANewContainerIsToldOfPortsWithoutAWayIn has it made and not started: as
// run in the foreground does.
func TestANewContainerIsToldOfPortsWithoutAWayIn(t *testing.T) {
	w := newWorld(t)
	w.openAndClosed()
	for _, start := range []bool{false, true} {
		_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Ports: web,
			Networks: []catenet.EndpointSpec{{Network: "closed"}}, Process: &catenet.Process{Args: []string{"sleep"}}}, start)
		if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), "no network of container") {
			t.Errorf("start %v: %v", start, err)
		}
	}
}

// TestANetworkJoinedByItsIDIsLeftByItsName: the record has the name.
func TestANetworkJoinedByItsIDIsLeftByItsName(t *testing.T) {
	w := newWorld(t)
	n := w.network(catenet.NetworkSpec{Name: "front"})
	st := w.mustAttach("x", catenet.EndpointSpec{Network: n.ID[:20]}, catenet.EndpointSpec{Network: "bridge"})
	if st.Networks[0].Network != "front" {
		t.Errorf("joined %s", st.Networks[0].Network)
	}
	must(t, w.Disconnect(ctx, "front", "x", false))
	st, err := w.Sandbox(ctx, "x")
	must(t, err)
	if len(st.Networks) != 1 || st.Networks[0].Network != "bridge" {
		t.Errorf("left with %v", st.Networks)
	}
}
