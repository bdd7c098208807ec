package engine

import (
	"fmt"
	"testing"
	"time"

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

func TestEventsOfThePastComeFirst(t *testing.T) {
	w := newWorld(t)
	before := time.Now()
	for range eventMemory {
		w.tell("sandbox", "old", "x")
	}
	w.network(catenet.NetworkSpec{Name: "a"})
	between := time.Now()
	w.network(catenet.NetworkSpec{Name: "b"})
	all, err := w.Events(t.Context(), nil, before)
	must(t, err)
	some, err := w.Events(t.Context(), catenet.Filter{"type": {"network"}}, between)
	must(t, err)
	none, err := w.Events(t.Context(), nil, time.Time{})
	must(t, err)
	if len(all) != eventMemory || len(some) != 1 || len(none) != 0 {
		t.Errorf("%d, %d and %d events, want %d, 1 and 0", len(all), len(some), len(none), eventMemory)
	}
	w.network(catenet.NetworkSpec{Name: "c"})
	for _, want := range []string{"b", "c"} {
		if e := <-some; e.Attributes["name"] != want || e.Action != "create" {
			t.Errorf("%+v, want the creation of %s", e, want)
		}
	}
}
