package dockerplugin

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/catenet/catenet"
)

// TestSweepOfContainers: an endpoint that dockerd has taken out of a container
// while nobody here heard of it goes with its address; those that dockerd knows
// stay, and those of containers that it does not know.
func TestSweepOfContainers(t *testing.T) {
	t.Parallel()
	var inspect string
	p := dockerd(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/networks":
			io.WriteString(w, `[{"Id":"n"}]`)
		case "/networks/n":
			io.WriteString(w, inspect)
		case "/containers/json":
			io.WriteString(w, `[{"Id":"kept"},{"Id":"left"}]`)
		}
	})
	ctx, e := t.Context(), p.o.Engine.(promising)
	endpoints := make(map[string]catenet.Endpoint)
	for _, id := range []string{"kept", "left", "another's"} {
		sb, err := e.CreateSandbox(ctx, catenet.SandboxSpec{Name: id[:4], Owner: catenet.OwnerDocker, RuntimeID: id, Parked: true, Netns: "/run/" + id,
			Networks: []catenet.EndpointSpec{{Network: "bridge"}}}, true)
		if err != nil {
			t.Fatal(err)
		}
		endpoints[id] = sb.Endpoints[0]
	}
	inspect = fmt.Sprintf(`{"Containers":{"kept":{"EndpointID":%q}}}`, endpoints["kept"].ID)
	gone := endpoints["left"].IPv4
	e.leases[gone.Addr()] = catenet.Lease{Subnet: gone.Masked(), Address: gone.Addr()}
	before, err := p.holdings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.sweep(ctx, before); err != nil {
		t.Fatal(err)
	}
	for id, ep := range endpoints {
		_, _, err := p.member(ctx, ep.ID)
		if left := catenet.IsNotFound(err); left != (id == "left") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if len(e.leases) != 0 {
		t.Errorf("its address is kept: %v", e.leases)
	}
}

// TestDeleteNetwork takes along what dockerd must have taken out of it before: it
// removes no network that has something in it.
func TestDeleteNetwork(t *testing.T) {
	t.Parallel()
	const id = "00000000000000000000000000000000000000000000000000000000000000aa"
	p := newPlugin()
	e := p.o.Engine.(promising)
	if w := ask(p, "NetworkDriver.CreateNetwork", `{"NetworkID":"`+id+`","IPv4Data":[{"AddressSpace":"catenet","Pool":"10.9.0.0/24","Gateway":"10.9.0.1/24"}]}`); w.Body.String() != "{}\n" {
		t.Fatal(w.Body)
	}
	if _, err := e.CreateSandbox(t.Context(), catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerDocker, Parked: true, Netns: "/run/c",
		Networks: []catenet.EndpointSpec{{Network: namePrefix + catenet.ShortID(id)}}}, true); err != nil {
		t.Fatal(err)
	}
	if w := ask(p, "NetworkDriver.DeleteNetwork", `{"NetworkID":"`+id+`"}`); w.Body.String() != "{}\n" {
		t.Fatal(w.Body)
	}
	if n, err := e.Network(t.Context(), namePrefix+catenet.ShortID(id)); err == nil {
		t.Errorf("it stays, with %d endpoints", len(n.Endpoints))
	}
}
