package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/store"
)

func (w *world) renameNetwork(from, to string) error {
	_, warnings, err := w.UpdateNetwork(ctx, from, catenet.NetworkUpdate{Name: to})
	if err == nil && len(warnings) > 0 {
		err = fmt.Errorf("warnings: %q", warnings)
	}
	return err
}

// TestARenamedNetwork is called so by all who are in it, those that do not run
// among them, and by the resolver; everything else of it stays.
func TestARenamedNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.network(catenet.NetworkSpec{Name: "one", Internal: true, Pools: []catenet.Pool{subnet("10.9.0.0/24")}})
	w.network(catenet.NetworkSpec{Name: "two"})
	w.mustAttach("x", catenet.EndpointSpec{Network: "one"}, catenet.EndpointSpec{Network: "two"})
	w.mustAttach("y", catenet.EndpointSpec{Network: "one"})
	_, err := w.CreateSandbox(ctx, container("runs", catenet.EndpointSpec{Network: "one", IPv4: addr("10.9.0.77")}), true)
	must(t, err)
	_, err = w.CreateSandbox(ctx, container("idle", catenet.EndpointSpec{Network: "one", IPv4: addr("10.9.0.78")}), false)
	must(t, err)
	events, err := w.Events(t.Context(), catenet.Filter{"event": {"rename"}}, time.Time{})
	must(t, err)
	before := w.state()

	must(t, w.renameNetwork("one", "new"))
	if after := w.state(); after != before {
		t.Errorf("the host was\n%s\nand is\n%s", before, after)
	}
	if ev := <-events; ev.ID != n.ID || ev.Attributes["name"] != "new" || ev.Attributes["oldName"] != "one" {
		t.Errorf("told: %+v", ev)
	}
	right := func(when string) {
		t.Helper()
		for name, want := range map[string]string{"x": "new two", "y": "new", "runs": "new", "idle": "new"} {
			if got := w.networksOf(name); got != want {
				t.Errorf("%s: %s is in %q, want %q", when, name, got, want)
			}
		}
		if got := w.ask("y", "runs.new"); got != "10.9.0.77" {
			t.Errorf("%s: runs.new is %s", when, got)
		}
		if got := w.ask("y", "runs.one"); !strings.Contains(got, "no such host") {
			t.Errorf("%s: runs.one is %s", when, got)
		}
		if _, err := w.Network(ctx, "one"); !catenet.IsNotFound(err) {
			t.Errorf("%s: network one: %v", when, err)
		}
		if _, err := w.Connect(ctx, "new", "y", catenet.EndpointSpec{}); !catenet.IsConflict(err) {
			t.Errorf("%s: it joins again: %v", when, err)
		}
	}
	right("renamed")
	w.restart()
	right("after a start")
	w.network(catenet.NetworkSpec{Name: "one"}) // the name is free
	for _, a := range []string{"10.9.0.77", "10.9.0.78"} {
		if _, err := w.attach("z", catenet.EndpointSpec{Network: "new", IPv4: addr(a)}); !catenet.IsConflict(err) {
			t.Errorf("%s is somebody else's: %v", a, err)
		}
	}
	must(t, w.Start(ctx, "idle"))
	must(t, w.Disconnect(ctx, "new", "idle", false))
	must(t, w.Stop(ctx, "runs", 0))
	w.reboot()
	must(t, w.Start(ctx, "runs"))
	if st, err := w.Sandbox(ctx, "runs"); err != nil || st.Endpoints[0].IPv4.Addr() != addr("10.9.0.77") {
		t.Errorf("after the machine's start: %+v, %v", st.Endpoints, err)
	}
}

func TestNamesThatANetworkCannotHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "one"})
	w.network(catenet.NetworkSpec{Name: "two"})
	before := w.mark()
	for name, want := range map[string]func(error) bool{"two": catenet.IsConflict, "host": forbidden, "default": forbidden, "a/b": catenet.IsInvalid} {
		if err := w.renameNetwork("one", name); !want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.renameNetwork("bridge", "mine"); !forbidden(err) {
		t.Errorf("the predefined one: %v", err)
	}
	must(t, w.renameNetwork("one", "one"))
	w.unchanged(before)
}

// TestANetworksNameOnItsWay is nobody else's, and goes with an update that
// fails.
func TestANetworksNameOnItsWay(t *testing.T) {
	w, m := interrupted(t)
	w.network(catenet.NetworkSpec{Name: "one"})
	w.network(catenet.NetworkSpec{Name: "two"})
	m.do = func() error {
		for _, name := range []string{"one", "new"} {
			if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: name}); !catenet.IsConflict(err) {
				t.Errorf("a network %s is made: %v", name, err)
			}
			if err := w.renameNetwork("two", name); !catenet.IsConflict(err) {
				t.Errorf("two is renamed to %s: %v", name, err)
			}
		}
		return fmt.Errorf("broken")
	}
	if err := w.renameNetwork("one", "new"); err == nil {
		t.Fatal("a broken kernel was updated")
	}
	must(t, w.renameNetwork("two", "new"))
	w.restart()
	for _, name := range []string{"one", "new"} {
		_, err := w.Network(ctx, name)
		must(t, err)
	}
}

// TestARenameGoesOn at the next start where a daemon has died amid the records
// of its containers. Until then both names are the network's.
func TestARenameGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "one"})
	w.mustAttach("x", catenet.EndpointSpec{Network: "one"})
	_, err := w.CreateSandbox(ctx, container("idle", catenet.EndpointSpec{Network: "one"}), false)
	must(t, err)
	n, err := w.Network(ctx, "one")
	must(t, err)
	next := n.Network
	next.Name = "new"
	must(t, w.keepNetwork(networkEntry{Network: next, Was: "one"}))
	w.restart()
	if got := w.networksOf("x") + " " + w.networksOf("idle"); got != "new new" {
		t.Errorf("they are in %s", got)
	}
	entries, err := store.Load[networkEntry](w.store, store.Durable, kindNetwork)
	must(t, err)
	if was := entries[n.ID].Was; was != "" {
		t.Errorf("it is still %s", was)
	}
	must(t, w.Start(ctx, "idle"))
}

// TestARenameThatRecordsRefuse is one all the same: those who say the old name
// mean this network, nobody else gets it, and it is tried on.
func TestARenameThatRecordsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "one", Pools: []catenet.Pool{subnet("10.9.0.0/24")}})
	_, err := w.CreateSandbox(ctx, container("idle", catenet.EndpointSpec{Network: "one", IPv4: addr("10.9.0.9")}), false)
	must(t, err)
	n, err := w.Network(ctx, "one")
	must(t, err)
	w.locked(func() { // as if its record could not be written
		w.networks[n.ID].Name, w.networks[n.ID].was = "new", "one"
	})
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "one"}); !catenet.IsConflict(err) {
		t.Errorf("another network one: %v", err)
	}
	must(t, w.Start(ctx, "idle"))
	must(t, w.Stop(ctx, "idle", 0))
	if _, err := w.attach("z", catenet.EndpointSpec{Network: "new", IPv4: addr("10.9.0.9")}); !catenet.IsConflict(err) {
		t.Errorf("idle's address: %v", err)
	}
	_, _, err = w.UpdateNetwork(ctx, "new", catenet.NetworkUpdate{AddLabels: map[string]string{"a": "b"}})
	must(t, err)
	if got := w.networksOf("idle"); got != "new" {
		t.Errorf("idle is in %s", got)
	}
	w.network(catenet.NetworkSpec{Name: "one"})
}

// TestSetAside has somebody else choose addresses beside us, from the start or
// later.
func TestSetAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	some := func(s string) []catenet.Range {
		r, err := catenet.ParseRange(s)
		must(t, err)
		return []catenet.Range{r}
	}
	n := w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: subnet("10.9.0.0/28").Subnet, SetAside: some("10.9.0.1-10.9.0.5")}}})
	if n.Pools[0].Gateway != addr("10.9.0.6") {
		t.Errorf("the gateway is %s: unasked, of what is others'", n.Pools[0].Gateway)
	}
	next := func(want string) {
		t.Helper()
		st, err := w.attach(strings.ReplaceAll(want, ".", "-"), catenet.EndpointSpec{Network: "n"})
		must(t, err)
		if got := st.Endpoints[0].IPv4.Addr().String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	next("10.9.0.7")
	w.mustAttach("theirs", catenet.EndpointSpec{Network: "n", IPv4: addr("10.9.0.3")})
	_, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{AddSetAside: some("10.9.0.8-10.9.0.12"), DropSetAside: some("10.9.0.1-10.9.0.5")})
	must(t, err)
	writes := w.kernel.Writes()
	_, _, err = w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{AddSetAside: some("10.9.0.8-10.9.0.12"), DropSetAside: some("10.9.0.1-10.9.0.5")})
	must(t, err)
	if w.kernel.Writes() != writes {
		t.Error("what is as asked is written again")
	}
	next("10.9.0.13")
	w.restart()
	if got, err := w.Network(ctx, "n"); err != nil || fmt.Sprint(got.Pools[0].SetAside) != "[10.9.0.8-10.9.0.12]" || got.Use[0].Free != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	next("10.9.0.1")
	before := w.mark()
	for what, up := range map[string]catenet.NetworkUpdate{
		"another subnet": {AddSetAside: some("10.8.0.1")},
		"an overlap":     {AddSetAside: some("10.9.0.12-10.9.0.13")},
		"both":           {AddSetAside: some("10.9.0.2"), DropSetAside: some("10.9.0.2")},
		"half outside":   {AddSetAside: some("10.9.0.14-10.9.0.17")},
		"a new one":      {AddPools: []catenet.Pool{subnet("10.8.0.0/30")}, AddSetAside: some("10.8.0.0-10.8.0.3")},
	} {
		if _, _, err := w.UpdateNetwork(ctx, "n", up); !catenet.IsInvalid(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.unchanged(before)
	_, _, err = w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "all", Pools: []catenet.Pool{{Subnet: subnet("10.8.0.0/24").Subnet, Gateway: addr("10.8.0.1"), SetAside: some("10.8.0.0/24")}}})
	if !catenet.IsInvalid(err) {
		t.Errorf("nothing is left: %v", err)
	}
}

// TestStaticRoutes are in each container of a family, come back, and may not be
// in each other's way.
func TestStaticRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	routes := func(args ...string) (out []catenet.Route) {
		for _, s := range args {
			r, err := catenet.ParseRoute(s)
			must(t, err)
			out = append(out, r)
		}
		return out
	}
	spec := func(name, cidr string, args ...string) catenet.NetworkSpec {
		return catenet.NetworkSpec{Name: name, Internal: true, Pools: []catenet.Pool{subnet(cidr)}, Routes: routes(args...)}
	}
	w.network(spec("n", "10.9.0.0/24", "10.77.0.0/16,10.9.0.77", "10.78.0.0/16,10.9.0.3,7"))
	w.network(spec("same", "10.8.0.0/24", "10.77.0.0/16,10.8.0.2"))
	w.network(spec("other", "10.7.0.0/24", "10.77.0.0/16,10.7.0.2,9"))
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	has := func(when string) {
		t.Helper()
		for _, want := range []string{"route add 10.77.0.0/16 via 10.9.0.77 dev eth0", "route add 10.78.0.0/16 via 10.9.0.3 dev eth0 metric 7"} {
			if !strings.Contains(w.state(), want) {
				t.Errorf("%s: the kernel lacks %q:\n%s", when, want, w.state())
			}
		}
	}
	has("joined")
	w.mustAttach("router", catenet.EndpointSpec{Network: "n", IPv4: addr("10.9.0.77")})
	if s := w.state(); strings.Contains(s, "/test/router route add 10.77") || !strings.Contains(s, "/test/router route add 10.78") {
		t.Errorf("the gateway has a route to itself, or lacks the other:\n%s", s)
	}
	before := w.mark()
	if _, err := w.Connect(ctx, "same", "x", catenet.EndpointSpec{}); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "10.77.0.0/16") {
		t.Errorf("two routes to one place: %v", err)
	}
	w.unchanged(before)
	_, err := w.Connect(ctx, "other", "x", catenet.EndpointSpec{})
	must(t, err)
	w.restart()
	has("after a start")
	for what, bad := range map[string]catenet.NetworkSpec{
		"a gateway elsewhere": spec("bad", "10.6.0.0/24", "10.77.0.0/16,10.9.0.2"),
		"its own subnet":      spec("bad", "10.6.0.0/24", "10.6.0.128/25,10.6.0.2"),
		"twice":               spec("bad", "10.6.0.0/24", "10.77.0.0/16,10.6.0.2", "10.77.0.0/16,10.6.0.3"),
		"twice, in IPv6":      {Name: "bad", IPv6: true, Pools: []catenet.Pool{subnet("fd06::/64")}, Routes: routes("fd77::/64,fd06::2", "fd77::/64,fd06::3,1024")},
		"a default route":     spec("bad", "10.6.0.0/24", "0.0.0.0/0,10.6.0.2"),
		"of settings":         {Name: "bad", ConfigOnly: true, Routes: routes("0.0.0.0/0,10.6.0.2")},
	} {
		if _, _, err := w.CreateNetwork(ctx, bad); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	settings := spec("settings", "10.5.0.0/24", "10.77.0.0/16,10.5.0.2")
	settings.ConfigOnly, settings.Internal = true, false
	w.network(settings)
	if n := w.network(catenet.NetworkSpec{Name: "made", ConfigFrom: "settings"}); fmt.Sprint(n.Routes) != "[10.77.0.0/16,10.5.0.2]" {
		t.Errorf("made from settings, it has %v", n.Routes)
	}
}

func forbidden(err error) bool { return catenet.KindOf(err) == catenet.KindForbidden }
