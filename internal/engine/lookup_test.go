package engine

import (
	"fmt"
	"testing"

	"github.com/catenet/catenet"
)

func TestEndpointsAreAllOfThemOldestFirst(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	one, two := catenet.EndpointSpec{Network: "bridge"}, catenet.EndpointSpec{Network: "n"}
	var want []string
	for _, st := range []catenet.SandboxStatus{w.mustAttach("a", one), w.mustAttach("b", two, one)} {
		for _, ep := range st.Endpoints {
			want = append(want, ep.ID)
		}
	}
	late, err := w.Connect(ctx, "n", "a", catenet.EndpointSpec{})
	must(t, err)
	want = append(want, late.ID)
	all, err := w.Endpoints(ctx)
	must(t, err)
	var got []string
	for _, ep := range all {
		got = append(got, ep.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("endpoints %v, want %v", got, want)
	}
}

func TestInfoSaysWhereLookupsGo(t *testing.T) {
	info, err := newWorld(t).Info(ctx)
	must(t, err)
	if got := fmt.Sprint(info.DNSUpstreams); got != "[192.0.2.53:53]" {
		t.Errorf("upstreams %s", got)
	}
}
