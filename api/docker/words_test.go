package docker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
)

// TestNetworksThatAreRefused by what they are asked for with, and those beside
// them that are not.
func TestNetworksThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		r       network.CreateRequest
		refused bool
	}{
		"plain":          {network.CreateRequest{}, false},
		"local":          {network.CreateRequest{Scope: "local"}, false},
		"global":         {network.CreateRequest{Scope: "global"}, true},
		"swarm":          {network.CreateRequest{Scope: "swarm"}, true},
		"ingress":        {network.CreateRequest{Ingress: true}, true},
		"own IPAM":       {network.CreateRequest{IPAM: &network.IPAM{Driver: "default"}}, false},
		"another's IPAM": {network.CreateRequest{IPAM: &network.IPAM{Driver: "dhcp"}}, true},
		"IPAM options":   {network.CreateRequest{IPAM: &network.IPAM{Options: map[string]string{"a": "b"}}}, true},
	} {
		if _, err := Spec(tc.r); (err != nil) != tc.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSubnetsSayWhatTheNetworkIs: what says nothing is no pool, and an IPv6
// subnet is meant, unless somebody says it is not.
func TestSubnetsSayWhatTheNetworkIs(t *testing.T) {
	six, no := netip.MustParsePrefix("fd00::/64"), false
	r := network.CreateRequest{IPAM: &network.IPAM{Config: []network.IPAMConfig{{}, {Subnet: six}, {Gateway: netip.MustParseAddr("10.0.0.9")}}}}
	for ipv6, field := range map[bool]*bool{true: nil, false: &no} {
		r.EnableIPv6 = field
		s, err := Spec(r)
		if err != nil || len(s.Pools) != 2 || s.IPv6 != ipv6 {
			t.Errorf("IPv6 %v: %+v, %v", ipv6, s, err)
		}
	}
}

func TestEndpointsAreRead(t *testing.T) {
	addr := netip.MustParseAddr
	for name, c := range map[string]network.EndpointIPAMConfig{
		"an IPv6 address as IPv4": {IPv4Address: addr("fd00::1")},
		"no address":              {IPv4Address: addr("0.0.0.0")},
		"an IPv4 address as IPv6": {IPv6Address: addr("10.0.0.1")},
		"one in disguise":         {IPv6Address: addr("::ffff:10.0.0.1")},
		"no IPv6 address":         {IPv6Address: addr("::")},
		"a zone":                  {IPv6Address: addr("fe80::1%eth0")},
		"link-local":              {LinkLocalIPs: []netip.Addr{addr("169.254.0.1")}},
	} {
		if got, err := EndpointSpec(&network.EndpointSettings{IPAMConfig: &c}, MaxVersion); err == nil {
			t.Errorf("%s is taken: %+v", name, got)
		}
	}
	s := network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: addr("::ffff:10.0.0.1"), IPv6Address: addr("fd00::1")},
		Links:      []string{"web:w", "/db:/self/store"}, MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 9},
	}
	want := catenet.EndpointSpec{IPv4: addr("10.0.0.1"), IPv6: addr("fd00::1"), Links: []catenet.Link{{Container: "web", Alias: "w"}, {Container: "db", Alias: "store"}}}
	for version, mac := range map[string]string{"1.53": "", "1.54": "02:00:00:00:00:09"} {
		want.MAC = mac
		got, err := EndpointSpec(&s, version)
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" || err != nil {
			t.Errorf("%s: %s, %v", version, d, err)
		}
	}
	if got, err := EndpointSpec(nil, MaxVersion); err != nil || !cmp.Equal(got, catenet.EndpointSpec{}, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Errorf("nothing is asked for, and read as %+v, %v", got, err)
	}
}

func TestEventsInDockersWords(t *testing.T) {
	for _, tc := range []struct{ typ, action, want string }{
		{"sandbox", "start", "container start"},
		{"sandbox", "detach", "container destroy"},
		{"sandbox", "repair", ""},
		{"network", "connect", "network connect"},
	} {
		m, told := Event(catenet.Event{Type: tc.typ, Action: tc.action, ID: "1", Time: time.Unix(7, 9), Attributes: map[string]string{"container_name": "web"}})
		if got := string(m.Type) + " " + string(m.Action); told != (tc.want != "") || told && got != tc.want {
			t.Errorf("%s %s is told (%v) as %s", tc.typ, tc.action, told, got)
		}
		if _, has := m.Actor.Attributes["container_name"]; has != (tc.typ == "sandbox") {
			t.Errorf("%s %s has %v", tc.typ, tc.action, m.Actor.Attributes)
		}
	}
	web := events.Message{Type: "container", Actor: events.Actor{ID: "4711", Attributes: map[string]string{"image": "busybox"}}}
	for value, want := range map[string]bool{"4711": true, "busybox": true, "471": false, "busy": false} {
		if got := MatchEvent(catenet.Filter{"image": {value}}, web); got != want {
			t.Errorf("image=%s: %v", value, got)
		}
	}
}
