package engine

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// TestNoDefaultRoute: an endpoint that wants no default route gives none,
// whatever its priority, and another one does in its place.
func TestNoDefaultRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "a", IPv6: true})
	w.network(catenet.NetworkSpec{Name: "b", IPv6: true})
	st := w.mustAttach("c", catenet.EndpointSpec{Network: "a", GwPriority: 9, NoDefault4: true}, catenet.EndpointSpec{Network: "b", NoDefault6: true})
	a, b := st.Endpoints[0], st.Endpoints[1]
	if a.DefaultRoute4 || !a.DefaultRoute6 || !b.DefaultRoute4 || b.DefaultRoute6 {
		t.Errorf("a: %v %v, b: %v %v", a.DefaultRoute4, a.DefaultRoute6, b.DefaultRoute4, b.DefaultRoute6)
	}
	st = w.mustAttach("alone", catenet.EndpointSpec{Network: "a", NoDefault4: true, NoDefault6: true})
	if ep := st.Endpoints[0]; ep.DefaultRoute4 || ep.DefaultRoute6 || !ep.Gateway4.IsValid() {
		t.Errorf("alone: %+v", ep)
	}
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "p", Ports: []catenet.PortSpec{{Proto: catenet.TCP, Port: 80}},
		Networks: []catenet.EndpointSpec{{Network: "a", NoDefault4: true, NoDefault6: true}}})
	if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), "no default route") {
		t.Errorf("a port without a way for answers: %v", err)
	}
	if _, err := w.attach("slow", catenet.EndpointSpec{Network: "a", Bandwidth: catenet.Bandwidth{In: catenet.Rate{Bits: 1}}}); !catenet.IsInvalid(err) {
		t.Error(err)
	}
}
