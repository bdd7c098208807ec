package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"text/template"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/docker"
)

// TestShape: a template sees all that the API tells, absent addresses as
// empty texts, and its JSON is the API's.
func TestShape(t *testing.T) {
	ep := catenet.Endpoint{ID: "e", IPv4: netip.MustParsePrefix("10.0.0.2/24"), Gateway4: netip.MustParseAddr("10.0.0.1")}
	for _, v := range []any{
		catenet.NetworkStatus{Endpoints: []catenet.Endpoint{ep}, Network: catenet.Network{ID: "n", NetworkSpec: catenet.NetworkSpec{Pools: []catenet.Pool{{Subnet: ep.IPv4.Masked(), Aux: map[string]netip.Addr{"a": ep.Gateway4, "b": {}}}}}}},
		catenet.NetworkStatus{}, catenet.SandboxStatus{}, catenet.Endpoint{}, catenet.Info{}, catenet.Event{}, docker.Inspected{}, docker.Inspect(catenet.NetworkStatus{Endpoints: []catenet.Endpoint{ep}}, nil),
		catenet.SandboxStatus{
			Sandbox:   catenet.Sandbox{SandboxSpec: catenet.SandboxSpec{Ports: []catenet.PortSpec{{Port: 80}}, Process: &catenet.Process{Args: []string{"x"}}}},
			Endpoints: []catenet.Endpoint{ep}, Bindings: []catenet.PortBinding{{Proto: catenet.TCP, HostIP: ep.Gateway4, HostPort: 1, Port: 2}},
		},
	} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(shape(v)); err != nil || string(got) != string(want) {
			t.Errorf("%T: %v\n%s is shown as\n%s", v, err, want, got)
		}
		var b strings.Builder
		if err := template.Must(template.New("").Parse("{{.}}")).Execute(&b, shape(v)); err != nil || strings.Contains(b.String(), "invalid") {
			t.Errorf("%T: %v, %s", v, err, b.String())
		}
	}
}
