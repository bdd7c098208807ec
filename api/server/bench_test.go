package server_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
)

// null is an engine that does nothing, so that what is left is the API's own.
type null struct{ *apitest.Engine }

func (null) CreateSandbox(_ context.Context, spec catenet.SandboxSpec, _ bool) (catenet.SandboxStatus, error) {
	sb := catenet.SandboxStatus{Endpoints: []catenet.Endpoint{{ID: catenet.NewID(), Interface: "eth0", IPv4: netip.MustParsePrefix("172.18.0.2/16"), MAC: "02:42:ac:12:00:02"}}}
	sb.ID, sb.SandboxSpec = catenet.NewID(), spec
	return sb, nil
}

// BenchmarkAttach is the time that an attach spends in the API.
func BenchmarkAttach(b *testing.B) {
	_, c := apitest.Serve(b, null{apitest.New()})
	spec := catenet.SandboxSpec{Name: "web", Owner: catenet.OwnerAttach, Netns: "/run/netns/web", Networks: []catenet.EndpointSpec{{Network: "front"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.CreateSandbox(b.Context(), spec, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList100Networks(b *testing.B) {
	e := apitest.New()
	for i := range 100 {
		if _, _, err := e.CreateNetwork(b.Context(), catenet.NetworkSpec{Name: "n" + catenet.ShortID(catenet.NewID()) + string(rune('a'+i%26))}); err != nil {
			b.Fatal(err)
		}
	}
	_, c := apitest.Serve(b, e)
	for b.Loop() {
		if _, err := c.Networks(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
