package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
)

func subnet(s string) catenet.Pool { return catenet.Pool{Subnet: netip.MustParsePrefix(s)} }

// TestUpdate changes all that can be changed, twice: the second time there is
// nothing to do. A start has the network as it is then.
func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n", IPv6: true, Labels: map[string]string{"old": "1", "kept": "2"},
		DNS: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, Options: map[string]string{catenet.OptionMTUShort: "1450"}})
	x := w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	events, err := w.Events(t.Context(), catenet.Filter{"type": {"network"}}, time.Time{})
	must(t, err)
	up := catenet.NetworkUpdate{
		AddLabels: map[string]string{"new": "3"}, DropLabels: []string{"old", "never"},
		AddDNS: []netip.Addr{addr("2001:db8::1")}, DropDNS: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.9")},
		MTU: 1400, AddPools: []catenet.Pool{subnet("10.9.0.0/24"), subnet("fd09::/64")},
	}
	for round := range 2 {
		before := w.kernel.Writes()
		n, warnings, err := w.UpdateNetwork(ctx, "n", up)
		must(t, err)
		if fmt.Sprint(n.Labels, n.DNS, n.Options, warnings) != "map[kept:2 new:3] [192.0.2.2 2001:db8::1] map[com.docker.network.driver.mtu:1400] []" {
			t.Errorf("%v %v %v %v", n.Labels, n.DNS, n.Options, warnings)
		}
		if len(n.Pools) != 4 || n.Pools[2].Gateway != addr("10.9.0.1") || n.Pools[3].Gateway != addr("fd09::1") {
			t.Errorf("pools: %+v", n.Pools)
		}
		if wrote := w.kernel.Writes() - before; (wrote == 0) != (round == 1) {
			t.Errorf("round %d writes %d changes", round, wrote)
		}
	}
	if ev := <-events; ev.Action != "update" || ev.Attributes["name"] != "n" || len(events) != 0 {
		t.Errorf("told: %+v, and %d more", ev, len(events))
	}
	state := w.state()
	for _, want := range []string{"mtu 1400", "ip addr add 10.9.0.1/24", "ip addr add fd09::1/64",
		"ip -n /test/x link set eth0 up mtu 1400", "ip -n /test/x route add 10.9.0.0/24 dev eth0", "ip -n /test/x route add fd09::/64 dev eth0"} {
		if !strings.Contains(state, want) {
			t.Errorf("the kernel lacks %q:\n%s", want, state)
		}
	}
	if strings.Contains(state, "mtu 1450") {
		t.Errorf("the old MTU is left:\n%s", state)
	}
	if now, err := w.Sandbox(ctx, "x"); err != nil || fmt.Sprint(now.Endpoints) != fmt.Sprint(x.Endpoints) {
		t.Errorf("x was %v and is %v (%v)", x.Endpoints, now.Endpoints, err)
	}
	before := w.outline()
	w.restart()
	if got := w.outline(); got != before {
		t.Errorf("after a start there is\n%s\nbefore there was\n%s", got, before)
	}
}

// TestOnlyLabels looks at nobody's links.
func TestOnlyLabels(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	calls := func(label string) int {
		var made []int // what watches begins beside us, and makes one of some rounds larger
		for round := range 5 {
			before := w.kernel.Calls()
			_, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{AddLabels: map[string]string{fmt.Sprint(label, round): ""}})
			must(t, err)
			made = append(made, w.kernel.Calls()-before)
		}
		return slices.Min(made)
	}
	alone := calls("a")
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	if got := calls("b"); got != alone {
		t.Errorf("%d calls of the kernel with a container, %d without", got, alone)
	}
}

// TestAFailedUpdateIsTakenBack, for the next start too.
func TestAFailedUpdateIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	before := w.outline()
	for n := 1; ; n++ {
		w.kernel.FailAt(n, errors.New("broken"))
		_, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{MTU: 1400, AddPools: []catenet.Pool{subnet("10.9.0.0/24")}})
		w.kernel.FailAt(0, nil)
		if err == nil {
			return
		}
		for _, when := range []string{"at once", "after a start"} {
			if got := w.outline(); got != before {
				t.Fatalf("call %d failed, and %s there is\n%s\nbefore there was\n%s", n, when, got, before)
			}
			w.restart()
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{subnet("10.8.0.0/24")}})
	w.network(catenet.NetworkSpec{Name: "pair", Driver: "ptp"})
	w.network(catenet.NetworkSpec{Name: "paper", ConfigOnly: true})
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	before := w.mark()
	other := subnet("10.8.0.0/24")
	other.Gateway = addr("10.8.0.9")
	narrow := subnet("10.9.0.0/24")
	narrow.Range = netip.MustParsePrefix("10.9.0.1/32")
	for _, c := range []struct {
		network string
		up      catenet.NetworkUpdate
		says    string
	}{
		{"none-such", catenet.NetworkUpdate{}, "there is no network"},
		{"n", catenet.NetworkUpdate{MTU: 67}, "is no MTU"},
		{"n", catenet.NetworkUpdate{AddDNS: []netip.Addr{addr("224.0.0.1")}}, "cannot be a name server"},
		{"n", catenet.NetworkUpdate{AddDNS: []netip.Addr{addr("192.0.2.1")}, DropDNS: []netip.Addr{addr("192.0.2.1")}}, "to be added and to be dropped"},
		{"n", catenet.NetworkUpdate{AddLabels: map[string]string{"a": "1"}, DropLabels: []string{"a"}}, "to be added and to be dropped"},
		{"n", catenet.NetworkUpdate{AddLabels: map[string]string{"": "1"}}, "no key"},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("fd09::/64")}}, "IPv6, which the network has not"},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("10.8.0.0/25")}}, `overlaps 10.8.0.0/24 of network "n"`},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("172.17.9.0/24")}}, `of network "bridge"`},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{other}}, "its range, gateway and auxiliary addresses stay"},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{narrow}}, "no address for a container"},
		{"n", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("10.9.0.0/31")}}, "too small for a gateway"},
		{"pair", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("10.9.0.0/30")}}, "one subnet of each family"},
		{"host", catenet.NetworkUpdate{AddLabels: map[string]string{"a": "1"}}, "the predefined host"},
		{"paper", catenet.NetworkUpdate{MTU: 1400}, "config-only"},
	} {
		if _, _, err := w.UpdateNetwork(ctx, c.network, c.up); err == nil || !strings.Contains(err.Error(), c.says) || catenet.KindOf(err) == catenet.KindInternal {
			t.Errorf("%s, %+v: %v, want %q", c.network, c.up, err, c.says)
		}
	}
	w.unchanged(before)
}

// TestTheNextSubnetWhenOneIsFull: of each family by itself, at first, after an
// update, and once there is room again.
func TestTheNextSubnetWhenOneIsFull(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n", IPv6: true, Pools: []catenet.Pool{subnet("10.8.0.0/30"), subnet("10.8.1.0/30"), subnet("fd08::/64")}})
	join := func(name string) string {
		st, err := w.attach(name, catenet.EndpointSpec{Network: "n"})
		if err != nil {
			return err.Error()
		}
		ep := st.Endpoints[0]
		return fmt.Sprint(ep.IPv4, " ", ep.Gateway4, " ", ep.IPv6)
	}
	want := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	want(join("a"), "10.8.0.2/30 10.8.0.1 fd08::2/64")
	want(join("b"), "10.8.1.2/30 10.8.1.1 fd08::3/64")
	before := w.use()
	want(join("c"), "no address left in 10.8.1.0/30")
	if got := w.use(); got != before {
		t.Errorf("who got none left\n%s\nof\n%s", got, before)
	}
	_, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("10.8.2.0/30")}})
	must(t, err)
	want(join("c"), "10.8.2.2/30 10.8.2.1 fd08::5/64")
	must(t, w.Remove(ctx, "b", true))
	w.restart()
	want(join("d"), "10.8.1.2/30 10.8.1.1")
	want(join("e"), "no address left")
	_, err = w.attach("f", catenet.EndpointSpec{Network: "n", IPv4: addr("10.8.2.2")})
	if !catenet.IsConflict(err) || !strings.Contains(err.Error(), "container c") {
		t.Errorf("somebody's address: %v", err)
	}
	must(t, w.Remove(ctx, "c", true))
	st := w.mustAttach("f", catenet.EndpointSpec{Network: "n", IPv4: addr("10.8.2.2")})
	if ep := st.Endpoints[0]; ep.IPv4.String() != "10.8.2.2/30" || ep.Gateway4 != addr("10.8.2.1") {
		t.Errorf("an address that was asked for: %+v", ep)
	}
}

// TestUpdatesAndJoinsAtATime: whoever joins meanwhile has the network as it
// was or as it is, and in the end as it is.
func TestUpdatesAndJoinsAtATime(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	done := make(chan error)
	const each = 20
	go func() {
		for i := range each {
			_, err := w.attach(fmt.Sprintf("x%d", i), catenet.EndpointSpec{Network: "n"})
			done <- err
		}
	}()
	go func() {
		for i := range each {
			_, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{MTU: 1400 + i, AddPools: []catenet.Pool{subnet(fmt.Sprintf("10.9.%d.0/24", i))}})
			done <- err
		}
	}()
	for range 2 * each {
		must(t, <-done)
	}
	before := w.outline()
	if n := strings.Count(before, fmt.Sprintf("up mtu %d ", 1400+each-1)); n != each {
		t.Errorf("%d of %d have the last MTU:\n%s", n, each, before)
	}
	w.restart()
	if got := w.outline(); got != before {
		t.Errorf("after a start there is\n%s\nbefore there was\n%s", got, before)
	}
}
