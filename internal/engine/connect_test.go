package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// networksOf are the networks that a container is to be in, as "a b".
func (w *world) networksOf(name string) string {
	w.t.Helper()
	st, err := w.Sandbox(ctx, name)
	must(w.t, err)
	var all []string
	for _, s := range st.Networks {
		all = append(all, s.Network)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestNetworksJoinedAndLeftOutliveTheMachine has one container join a network
// and another leave one, while they run or not, and the machine go down.
func TestNetworksJoinedAndLeftOutliveTheMachine(t *testing.T) {
	for _, running := range []bool{true, false} {
		w := newWorld(t)
		one, two := catenet.EndpointSpec{Network: "one"}, catenet.EndpointSpec{Network: "two"}
		w.network(catenet.NetworkSpec{Name: "one"})
		w.network(catenet.NetworkSpec{Name: "two"})
		_, err := w.CreateSandbox(ctx, container("joins", one), running)
		must(t, err)
		_, err = w.CreateSandbox(ctx, container("leaves", one, two), running)
		must(t, err)
		_, err = w.Connect(ctx, "two", "joins", catenet.EndpointSpec{Aliases: []string{"db"}})
		must(t, err)
		must(t, w.Disconnect(ctx, "two", "leaves", false))
		w.reboot()
		if got := w.networksOf("joins"); got != "one two" {
			t.Errorf("running: %v, the one that joined two is in %s", running, got)
		}
		if got := w.networksOf("leaves"); got != "one" {
			t.Errorf("running: %v, the one that left two is in %s", running, got)
		}
		must(t, w.Start(ctx, "joins"))
		st, err := w.Sandbox(ctx, "joins")
		must(t, err)
		if len(st.Endpoints) != 2 || !slices.Equal(st.Endpoints[1].Spec.Aliases, []string{"db"}) {
			t.Errorf("running: %v, started again it has %+v", running, st.Endpoints)
		}
	}
}

// TestAnAddressIsReservedFromConnectToDisconnect has neither container run.
func TestAnAddressIsReservedFromConnectToDisconnect(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
	for _, name := range []string{"a", "b"} {
		_, err := w.CreateSandbox(ctx, container(name), false)
		must(t, err)
	}
	fixed := catenet.EndpointSpec{IPv4: addr("10.1.0.5")}
	_, err := w.Connect(ctx, "n", "a", fixed)
	must(t, err)
	if _, err := w.Connect(ctx, "n", "b", fixed); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "container a") {
		t.Errorf("with a in the network: %v", err)
	}
	must(t, w.Disconnect(ctx, "n", "a", false))
	if _, err := w.Connect(ctx, "n", "b", fixed); err != nil {
		t.Errorf("with a out of it: %v", err)
	}
}

// TestAModeIsNoNetworkToConnectTo asks for it with a container that runs and
// with one that does not: both are told of the flag that is right.
func TestAModeIsNoNetworkToConnectTo(t *testing.T) {
	w := newWorld(t)
	w.mustAttach("runs")
	_, err := w.CreateSandbox(ctx, container("idle"), false)
	must(t, err)
	before := w.mark()
	for _, mode := range []string{"host", "none"} {
		for _, name := range []string{"runs", "idle"} {
			_, err := w.Connect(ctx, mode, name, catenet.EndpointSpec{})
			if catenet.KindOf(err) != catenet.KindForbidden || !strings.Contains(err.Error(), mode+" cannot be joined beside others") ||
				!strings.Contains(catenet.HintOf(err), "run --network "+mode) {
				t.Errorf("%s to %s: %v (%s)", name, mode, err, catenet.HintOf(err))
			}
		}
	}
	w.unchanged(before)
}
