package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func peers(list string) map[string]string { return map[string]string{"peers": list} }

// reached are the ways to other hosts, as subnet and gateway, sorted.
func (w *world) reached() string {
	w.t.Helper()
	all, err := w.kernel.Reached(ctx)
	must(w.t, err)
	var ways []string
	for _, r := range all {
		ways = append(ways, r.Subnet.String()+" "+r.Via.String())
	}
	slices.Sort(ways)
	return strings.Join(ways, ", ")
}

// The hosts that a network's options name are others while it runs: those that stay
// are not touched, and those that go are reached and let in no longer.
func TestPeersChange(t *testing.T) {
	w := newWorld(t)
	n := w.network(catenet.NetworkSpec{Name: "direct", Driver: "routed", Pools: []catenet.Pool{subnet("10.8.1.0/24")},
		Options: peers("10.8.2.0/24=192.0.2.2,10.8.3.0/24=192.0.2.3,10.8.64.0/20=192.0.2.5")})
	update := func(list string) []string {
		t.Helper()
		_, warnings, err := w.UpdateNetwork(ctx, "direct", catenet.NetworkUpdate{Options: peers(list)})
		must(t, err)
		return warnings
	}
	if warnings := update("10.8.2.0/24=192.0.2.2,10.8.3.0/24=192.0.2.9,10.8.65.0/24=192.0.2.5"); len(warnings) != 0 {
		t.Errorf("warnings: %q", warnings)
	}
	if got := w.reached(); got != "10.8.2.0/24 192.0.2.2, 10.8.3.0/24 192.0.2.9, 10.8.65.0/24 192.0.2.5" {
		t.Errorf("reached are %s", got)
	}
	if wants := w.networks[n.ID].state.Firewall[0]; len(wants.Hosts) != 3 || !slices.Contains(wants.Span, prefix("10.8.65.0/24")) || slices.Contains(wants.Span, prefix("10.8.64.0/20")) {
		t.Errorf("let in are %v of %v", wants.Hosts, wants.Span)
	}
	before := w.kernel.Writes()
	update("10.8.2.0/24=192.0.2.2,10.8.3.0/24=192.0.2.9,10.8.65.0/24=192.0.2.5")
	if wrote := w.kernel.Writes() - before; wrote != 0 {
		t.Errorf("what is so already writes %d changes", wrote)
	}
	warnings := update("10.8.2.0/24=192.0.2.2,10.8.7.0/24=198.51.100.7")
	if len(warnings) != 1 || !strings.Contains(warnings[0], "198.51.100.7") || !strings.Contains(warnings[0], "ip route get") {
		t.Errorf("of a host that is on no wire: %q", warnings)
	}
	st := status(t, w, "direct")
	if len(st.Peers) != 2 || st.Peers[0].Trouble != "" || !strings.Contains(st.Peers[1].Trouble, "no wire") {
		t.Errorf("peers %+v", st.Peers)
	}
	w.restart()
	if got := w.reached(); got != "10.8.2.0/24 192.0.2.2" {
		t.Errorf("after a start reached are %s", got)
	}
}

// What cannot be changed is refused, with what can be, and nothing is touched.
func TestOptionsThatStay(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "direct", Driver: "routed", Pools: []catenet.Pool{subnet("10.8.1.0/24")}, Options: peers("10.8.2.0/24=192.0.2.2")})
	w.network(catenet.NetworkSpec{Name: "other", Pools: []catenet.Pool{subnet("10.9.0.0/24")}})
	before := w.outline()
	for _, refused := range []struct {
		network, key, value string
		is                  func(error) bool
		says, hints         string
	}{
		{"direct", "com.docker.network.bridge.name", "br9", forbidden, "bridge.name of network direct", "peers"},
		{"direct", "peer", "10.8.3.0/24=192.0.2.3", catenet.IsInvalid, `no option "peer"`, "peers"},
		{"direct", "peers", "", catenet.IsInvalid, "other hosts", "-o peers="},
		{"direct", "peers", "10.8.1.0/24=192.0.2.2", catenet.IsInvalid, "own subnet", "--subnet"},
		{"direct", "peers", "10.9.0.0/16=192.0.2.2", catenet.IsConflict, "of network other", "choose other"},
		{"other", "com.docker.network.driver.mtu", "1400", forbidden, "mtu of network other", "--mtu"},
		{"other", "com.docker.network.bridge.enable_icc", "false", forbidden, "enable_icc", "anew"},
	} {
		_, _, err := w.UpdateNetwork(ctx, refused.network, catenet.NetworkUpdate{Options: map[string]string{refused.key: refused.value}})
		if !refused.is(err) || !strings.Contains(err.Error(), refused.says) || !strings.Contains(catenet.HintOf(err), refused.hints) {
			t.Errorf("%s: %s=%s: %v (%s)", refused.network, refused.key, refused.value, err, catenet.HintOf(err))
		}
	}
	if got := w.outline(); got != before {
		t.Errorf("was\n%s\nand is\n%s", before, got)
	}
}

// No network has addresses of another host's.
func TestPeersAreNobodyElses(t *testing.T) {
	w := newWorld(t)
	chosen := w.network(catenet.NetworkSpec{Name: "direct", Driver: "routed", Options: peers("172.18.0.0/15=192.0.2.2,172.20.0.0/14=192.0.2.3")})
	if chosen.Pools[0].Subnet.Overlaps(prefix("172.18.0.0/15")) || chosen.Pools[0].Subnet.Overlaps(prefix("172.20.0.0/14")) {
		t.Errorf("the daemon chooses %s, which is another host's", chosen.Pools[0].Subnet)
	}
	for name, spec := range map[string]catenet.NetworkSpec{
		"direct": {Name: "near", Pools: []catenet.Pool{subnet("172.19.7.0/24")}},
		"bridge": {Name: "again", Driver: "routed", Pools: []catenet.Pool{subnet("10.8.1.0/24")}, Options: peers("172.17.0.0/16=192.0.2.2")},
	} {
		if _, _, err := w.CreateNetwork(ctx, spec); !catenet.IsConflict(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", spec.Name, err)
		}
	}
}
