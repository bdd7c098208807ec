package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
)

func TestANetworkIsMadeFromAConfigOnlyOne(t *testing.T) {
	w := newWorld(t)
	asked := []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/24"), Gateway: addr("10.9.0.9")}}
	config := w.network(catenet.NetworkSpec{
		Name: "settings", Driver: "of no build", ConfigOnly: true, IPv6: true, Pools: asked,
		Options: map[string]string{catenet.OptionPrefix: "lan"}, Labels: map[string]string{"team": "blue"},
	})
	if config.Driver != "null" || !cmp.Equal(config.Pools, asked, cmp.Comparer(equal)) {
		t.Errorf("a config-only network is of driver %q with the pools %v", config.Driver, config.Pools)
	}
	n := w.network(catenet.NetworkSpec{Name: "real", ConfigFrom: config.ID[:12]})
	if n.Driver != "bridge" || n.ConfigFrom != "settings" || n.ConfigOnly || !n.IPv6 || n.Labels["team"] != "blue" || len(n.Pools) != 2 || n.Pools[0].Gateway != addr("10.9.0.9") {
		t.Errorf("what was made of it is %+v", n)
	}
	st := w.mustAttach("c", catenet.EndpointSpec{Network: "real"})
	if st.Endpoints[0].Interface != "lan0" {
		t.Errorf("the option of the interface's name did not come along: %+v", st.Endpoints[0])
	}
	for range 2 { // as made, and as restored
		if _, err := w.attach("d", catenet.EndpointSpec{Network: "settings"}); catenet.KindOf(err) != catenet.KindForbidden || !strings.Contains(err.Error(), "config-only") {
			t.Errorf("joining what only holds settings: %v", err)
		}
		if _, err := w.Connect(t.Context(), "settings", "c", catenet.EndpointSpec{}); catenet.KindOf(err) != catenet.KindForbidden {
			t.Errorf("connecting to what only holds settings: %v", err)
		}
		if st, err := w.Network(t.Context(), "settings"); err != nil || len(st.Use) > 0 {
			t.Errorf("addresses of what only holds settings are handed out: %+v, %v", st.Use, err)
		}
		if err := w.noNetwork("settings"); catenet.KindOf(err) != catenet.KindForbidden {
			t.Errorf("removing settings in use: %v", err)
		}
		w.restart()
	}
	must(t, w.Remove(t.Context(), "c", true))
	if names, err := w.PruneNetworks(t.Context(), nil); err != nil || !cmp.Equal(names, []string{"real"}) {
		t.Errorf("pruned %v, %v", names, err)
	}
	if names, err := w.PruneNetworks(t.Context(), nil); err != nil || len(names) > 0 {
		t.Errorf("settings are pruned: %v, %v", names, err)
	}
	must(t, w.noNetwork("settings"))
	// Its subnet was never taken.
	w.network(catenet.NetworkSpec{Name: "other", Pools: asked})
}

func equal(a, b catenet.Pool) bool { return a.Subnet == b.Subnet && a.Gateway == b.Gateway }

func TestSettingsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "settings", ConfigOnly: true})
	w.network(catenet.NetworkSpec{Name: "plain"})
	for _, tt := range []struct {
		spec catenet.NetworkSpec
		kind catenet.Kind
	}{
		{catenet.NetworkSpec{ConfigFrom: "nothing"}, catenet.KindNotFound},
		{catenet.NetworkSpec{ConfigFrom: "plain"}, catenet.KindNotFound},
		{catenet.NetworkSpec{ConfigFrom: "settings", IPv6: true}, catenet.KindForbidden},
		{catenet.NetworkSpec{ConfigFrom: "settings", Labels: map[string]string{"a": ""}}, catenet.KindForbidden},
		{catenet.NetworkSpec{Labels: map[string]string{"": "a"}}, catenet.KindInvalid},
		{catenet.NetworkSpec{ConfigFrom: "settings", ConfigOnly: true}, catenet.KindForbidden},
		{catenet.NetworkSpec{ConfigOnly: true, Internal: true}, catenet.KindForbidden},
		{catenet.NetworkSpec{ConfigOnly: true, Attachable: true}, catenet.KindForbidden},
		{catenet.NetworkSpec{ConfigOnly: true, DisableIPv4: true}, catenet.KindInvalid},
		{catenet.NetworkSpec{Options: map[string]string{"com.docker.network.enable_ipv6": "perhaps"}}, catenet.KindInvalid},
	} {
		tt.spec.Name = "new"
		if _, _, err := w.CreateNetwork(t.Context(), tt.spec); catenet.KindOf(err) != tt.kind {
			t.Errorf("%+v: %v, want %v", tt.spec, err, tt.kind)
		}
	}
}

func TestGeneralOptionsAreFields(t *testing.T) {
	w := newWorld(t)
	options := map[string]string{
		"com.docker.network.enable_ipv4": "false", "com.docker.network.enable_ipv6": "true", "com.docker.network.internal": "1",
	}
	n := w.network(catenet.NetworkSpec{Name: "n", Options: options})
	if !n.DisableIPv4 || !n.IPv6 || !n.Internal || len(n.Options) != 0 || len(options) != 3 {
		t.Errorf("%+v, and the caller's options are %v", n.NetworkSpec, options)
	}
}
