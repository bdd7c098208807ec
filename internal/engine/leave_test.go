package engine

import (
	"sync"
	"testing"

	"github.com/catenet/catenet"
)

// TestLeave: what is named goes, with its ports; the rest stays, and a namespace
// of somebody else's goes with its last endpoint.
func TestLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := catenet.PortSpec{Proto: "tcp", Port: 81, HostPort: 8081, HostPortEnd: 8081}
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "g", Owner: catenet.OwnerCNI, Networks: w.openAndClosed(), Ports: append(web[:1:1], other)})
	must(t, err)
	open, closed := st.Endpoints[0].ID, st.Endpoints[1].ID
	for range 2 {
		must(t, w.Leave(ctx, "g", []string{closed, "of nobody"}, append(web[:1:1], catenet.PortSpec{Proto: "tcp", Port: 9})))
		st, err = w.Sandbox(ctx, "g")
		must(t, err)
		if len(st.Endpoints) != 1 || st.Endpoints[0].ID != open || len(st.Networks) != 1 || len(st.Ports) != 1 || st.Ports[0] != other || len(st.Bindings) != 1 || st.Bindings[0].HostPort != 8081 {
			t.Fatalf("one has left: %+v", st)
		}
	}
	w.restart()
	must(t, w.Leave(ctx, "g", []string{open}, nil))
	if _, err := w.Sandbox(ctx, "g"); !catenet.IsNotFound(err) {
		t.Errorf("all have left: %v", err)
	}
	must(t, w.Leave(ctx, "g", []string{open}, nil))

	own, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Networks: []catenet.EndpointSpec{{Network: "open"}},
		Process: &catenet.Process{Args: []string{"sleep"}}}, true)
	must(t, err)
	must(t, w.Leave(ctx, "c", []string{own.Endpoints[0].ID}, nil))
	if own, err = w.Sandbox(ctx, "c"); err != nil || own.State != catenet.StateRunning || len(own.Endpoints) != 0 {
		t.Errorf("a container of our own: %+v, %v", own, err)
	}
}

// TestLeaveMeetsConnect: an endpoint that joins while the last one leaves is
// either of a sandbox that stays, or refused.
func TestLeaveMeetsConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.openAndClosed()
	for range 20 {
		st, err := w.attachSpec(catenet.SandboxSpec{Name: "g", Owner: catenet.OwnerDocker, Networks: []catenet.EndpointSpec{{Network: "open"}}})
		must(t, err)
		var wg sync.WaitGroup
		var joined error
		wg.Go(func() { _, joined = w.Connect(ctx, "closed", st.ID, catenet.EndpointSpec{}) })
		wg.Go(func() {
			if err := w.Leave(ctx, st.ID, []string{st.Endpoints[0].ID}, nil); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		left, err := w.Sandbox(ctx, st.ID)
		switch {
		case joined == nil && (err != nil || len(left.Endpoints) != 1):
			t.Fatalf("it had joined: %+v, %v", left.Endpoints, err)
		case joined != nil && (!catenet.IsNotFound(joined) || !catenet.IsNotFound(err)):
			t.Fatalf("it was too late: %v; %v", joined, err)
		}
		if err == nil {
			must(t, w.Remove(ctx, st.ID, true))
		}
	}
}
