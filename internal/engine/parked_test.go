package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// park makes a sandbox whose namespace is still to come.
func (w *world) park(name string, networks ...catenet.EndpointSpec) (catenet.SandboxStatus, error) {
	return w.CreateSandbox(ctx, catenet.SandboxSpec{Name: name, Owner: catenet.OwnerDocker, Parked: true, Netns: "/late/" + name, Networks: networks}, true)
}

// TestParked: links wait on the host until whoever makes the namespace takes
// them, and lookups are led to us when it comes.
func TestParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	empty := w.state()
	id := catenet.NewID()
	st, err := w.park("p", catenet.EndpointSpec{ID: id, Network: "bridge"})
	must(t, err)
	ep := st.Endpoints[0]
	if ep.ID != id || ep.Parked == nil || ep.Parked.Link != "ctp"+catenet.ShortID(id) || !st.Expected {
		t.Errorf("parked: %+v", st)
	}
	if _, err := w.park("q", catenet.EndpointSpec{ID: id, Network: "bridge"}); !catenet.IsConflict(err) {
		t.Errorf("the same endpoint again: %v", err)
	}
	if _, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "r", Owner: catenet.OwnerDocker, Parked: true, Netns: "/late/p"}, true); !catenet.IsConflict(err) {
		t.Errorf("the same namespace again: %v", err)
	}
	w.restart() // it is still awaited
	w.kernel.Adopt("/late/p")
	come := func() bool {
		st, err := w.Sandbox(ctx, "p")
		return err == nil && !st.Expected
	}
	eventually(t, "it never came", come)
	r, err := w.record("p")
	must(t, err)
	if r.ResolverPort == 0 {
		t.Error("nobody serves its lookups")
	}
	if !strings.Contains(w.kernel.String(), "redirect") {
		t.Error("its lookups are not led to us")
	}
	w.closeNow()
	if strings.Contains(w.kernel.String(), "redirect") {
		t.Error("nobody answers its lookups while no daemon runs")
	}
	w.boot(nil)
	if !strings.Contains(w.kernel.String(), "redirect") {
		t.Error("its lookups are not led to us after a start")
	}
	w.kernel.Vanish("/late/p")
	eventually(t, "its end is not noticed", func() bool { _, err := w.Sandbox(ctx, "p"); return catenet.IsNotFound(err) })
	if got := w.state(); got != empty {
		t.Errorf("left:\n%s\nat first there was\n%s", got, empty)
	}
}

// TestParkedIsTakenDown before its namespace has come, and joins and leaves
// further networks.
func TestParkedIsTakenDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	empty := w.state()
	_, err := w.park("p", catenet.EndpointSpec{Network: "bridge"})
	must(t, err)
	one := w.state()
	if _, err := w.Connect(ctx, "n", "p", catenet.EndpointSpec{}); catenet.KindOf(err) != catenet.KindForbidden {
		t.Errorf("joined by somebody who is not its runtime: %v", err)
	}
	ep, err := w.Connect(ctx, "n", "p", catenet.EndpointSpec{ID: catenet.NewID()})
	must(t, err)
	if ep.Parked == nil {
		t.Errorf("the second is not parked: %+v", ep)
	}
	if err := w.Disconnect(ctx, "n", "p", false); catenet.KindOf(err) != catenet.KindForbidden {
		t.Errorf("taken out by somebody who is not its runtime: %v", err)
	}
	must(t, w.Disconnect(ctx, "n", "p", true))
	if got := w.state(); got != one {
		t.Errorf("after leaving:\n%s\nit was\n%s", got, one)
	}
	_, err = w.UpdateSandbox(ctx, "p", catenet.SandboxUpdate{Publish: specs(t, "8000:80")})
	must(t, err)
	must(t, w.Remove(ctx, "p", true))
	if got := w.state(); got != empty {
		t.Errorf("left:\n%s\nat first there was\n%s", got, empty)
	}
	for _, bad := range []catenet.SandboxSpec{
		{Name: "x", Owner: catenet.OwnerDocker, Parked: true, PID: 1},
		{Name: "x", Owner: catenet.OwnerRun, Parked: true, Process: &catenet.Process{Args: []string{"x"}}},
	} {
		if _, err := w.CreateSandbox(ctx, bad, false); !catenet.IsInvalid(err) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := w.park("x", catenet.EndpointSpec{ID: "abc", Network: "bridge"}); !catenet.IsInvalid(err) {
		t.Errorf("a wrong ID: %v", err)
	}
}

// TestLeases: an address that is leased goes to nobody but the endpoint it is for,
// over a start of the daemon too, and is leased again when that goes.
func TestLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subnet := netip.MustParsePrefix("10.5.0.0/29")
	w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: subnet}}})
	id := catenet.NewID()
	l, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet})
	must(t, err)
	if l.Address != netip.MustParseAddr("10.5.0.2") || l.Passing {
		t.Fatalf("the lease is %+v", l)
	}
	w.restart()
	l, err = w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet, Address: l.Address, Holder: id, MAC: "02:42:00:00:00:01"})
	must(t, err)
	if _, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet, Address: l.Address, Holder: catenet.NewID()}); !catenet.IsConflict(err) {
		t.Errorf("for another endpoint: %v", err)
	}
	if _, err := w.attach("x", catenet.EndpointSpec{Network: "n", IPv4: l.Address}); !catenet.IsConflict(err) {
		t.Errorf("another endpoint takes it: %v", err)
	}
	w.restart()
	if all, err := w.Leases(ctx); err != nil || !slices.Equal(all, []catenet.Lease{l}) {
		t.Errorf("after a start: %+v, %v", all, err)
	}
	w.mustAttach("a", catenet.EndpointSpec{ID: id, Network: "n", IPv4: l.Address})
	w.restart()
	must(t, w.Remove(ctx, "a", true))
	if _, err := w.attach("x", catenet.EndpointSpec{Network: "n", IPv4: l.Address}); !catenet.IsConflict(err) {
		t.Errorf("it is leased still: %v", err)
	}
	must(t, w.ReleaseHolder(ctx, id))
	must(t, w.ReleaseAddress(ctx, subnet, l.Address))
	must(t, w.ReleaseAddress(ctx, subnet, l.Address)) // once more
	passing, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet, Address: l.Address, Holder: id})
	must(t, err)
	if !passing.Passing {
		t.Errorf("it begins with its holder: %+v", passing)
	}
	must(t, w.ReleaseHolder(ctx, id))
	w.mustAttach("x", catenet.EndpointSpec{Network: "n", IPv4: l.Address})
	must(t, w.ReleaseAddress(ctx, subnet, l.Address)) // nobody's lease
	if _, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet, Address: l.Address}); !catenet.IsConflict(err) {
		t.Errorf("x has it: %v", err)
	}
}

// TestLeaseIsHeldByItsEndpoint: an endpoint that is there holds its leases, whoever
// says that it is not to be; what ends one does not free its address.
func TestLeaseIsHeldByItsEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subnet := netip.MustParsePrefix("10.5.0.0/29")
	w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: subnet}}})
	id := catenet.NewID()
	l, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: subnet})
	must(t, err)
	l.Holder = id
	l, err = w.LeaseAddress(ctx, l)
	must(t, err)
	w.mustAttach("a", catenet.EndpointSpec{ID: id, Network: "n", IPv4: l.Address})
	must(t, w.ReleaseHolder(ctx, id))
	if all, err := w.Leases(ctx); err != nil || !slices.Equal(all, []catenet.Lease{l}) {
		t.Errorf("%+v, %v", all, err)
	}
	w.restart()
	must(t, w.ReleaseAddress(ctx, subnet, l.Address))
	if _, err := w.attach("x", catenet.EndpointSpec{Network: "n", IPv4: l.Address}); !catenet.IsConflict(err) {
		t.Errorf("a has it: %v", err)
	}
	must(t, w.Remove(ctx, "a", true))
	w.mustAttach("x", catenet.EndpointSpec{Network: "n", IPv4: l.Address})
}

// TestClaims: a subnet that is claimed goes to the network that takes it, and to
// nobody else, over a start of the daemon too.
func TestClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	idle, err := w.ClaimPool(ctx, catenet.Pool{}, false)
	must(t, err)
	one, err := w.ClaimPool(ctx, catenet.Pool{}, false)
	must(t, err)
	if one.Subnet == idle.Subnet {
		t.Fatal("claimed twice")
	}
	six, err := w.ClaimPool(ctx, catenet.Pool{}, true)
	must(t, err)
	if !six.Subnet.Addr().Is6() {
		t.Errorf("IPv6: %s", six.Subnet)
	}
	gateway, err := w.LeaseGateway(ctx, one.Subnet, netip.Addr{})
	must(t, err)
	aux := gateway.Next()
	if l, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: one.Subnet}); err != nil || l.Address != aux {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := w.LeaseAddress(ctx, catenet.Lease{Subnet: one.Subnet, Address: aux}); !catenet.IsConflict(err) {
		t.Errorf("leased twice: %v", err)
	}
	w.restart()
	if all, err := w.Claims(ctx); err != nil || len(all) != 1 || all[0].Subnet != one.Subnet || !slices.Equal(all[0].Leases, []netip.Addr{gateway, aux}) {
		t.Errorf("after a start: %+v, %v", all, err)
	}
	spec := catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: one.Subnet, Gateway: gateway}}}
	if _, _, err := w.CreateNetwork(ctx, spec); !catenet.IsConflict(err) {
		t.Errorf("somebody else's network: %v", err)
	}
	spec.TakeClaims = true
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "p", Driver: "ptp", TakeClaims: true}); !catenet.IsUnsupported(err) {
		t.Errorf("links that cannot wait: %v", err)
	}
	w.network(spec)
	if all, err := w.Claims(ctx); err != nil || len(all) != 0 {
		t.Errorf("it is taken: %+v, %v", all, err)
	}
	if g, err := w.LeaseGateway(ctx, one.Subnet, netip.Addr{}); err != nil || g != gateway {
		t.Errorf("%s, %v", g, err)
	}
	must(t, w.ReleasePool(ctx, one.Subnet)) // the network's
	if _, err := w.ClaimPool(ctx, catenet.Pool{Subnet: one.Subnet}, false); !catenet.IsConflict(err) {
		t.Errorf("the network has it: %v", err)
	}
	if _, err := w.LeaseGateway(ctx, idle.Subnet, netip.Addr{}); !catenet.IsNotFound(err) {
		t.Errorf("a claim of which nothing was leased: %v", err)
	}
}
