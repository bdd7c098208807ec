package routed

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/driver/conformance"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

func network(id, peers string, subnets ...string) catenet.Network {
	n := catenet.Network{ID: strings.Repeat(id, 32)}
	n.Name, n.Driver, n.Options = "net-"+id, "routed", map[string]string{optPeers: peers}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		n.Pools = append(n.Pools, catenet.Pool{Subnet: p, Gateway: p.Addr().Next()})
		n.IPv6 = n.IPv6 || p.Addr().Is6()
	}
	return n
}

func TestConformance(t *testing.T) {
	conformance.Run(t, New(bridge.New()),
		network("a1", "10.62.0.0/24=192.0.2.2", "10.61.0.0/24"),
		network("a2", "10.64.0.0/24=192.0.2.2, 10.65.0.0/24=192.0.2.3", "10.63.0.0/24", "fd00:63::/64"),
	)
}

func TestOptions(t *testing.T) {
	d := New(bridge.New())
	for peers, want := range map[string]string{
		"":                        "other hosts",
		"10.2.0.0/24":             "is no peer",
		"10.2.0.0/33=192.0.2.2":   "is no peer",
		"10.2.0.1/24=192.0.2.2":   "within a subnet",
		"10.2.0.0/24=2001:db8::1": "of the other family",
		"0.0.0.0/0=192.0.2.2":     "no host has the subnet",
		"224.0.0.0/8=192.0.2.2":   "no host has the subnet",
		"10.2.0.0/24=there":       `is reached at "there"`,
		"10.2.0.0/24=":            `is reached at ""`,
		"10.2.0.0/24=127.0.0.1":   "is reached at",
		"fd00::/64=fe80::1":       "is reached at",
		"10.2.0.0/24=10.2.0.1":    "by way of itself",
		"10.2.0.0/24=10.1.0.9":    "the network's own subnet",
		"10.1.0.0/25=192.0.2.2":   "this host's own",
		"fd00::/64=2001:db8::1":   "of a family",
		"10.2.0.0/16=192.0.2.2,10.2.3.0/24=192.0.2.3": "another peer",
	} {
		err := d.Validate(network("a1", peers, "10.1.0.0/24").NetworkSpec)
		if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), want) || catenet.HintOf(err) == "" {
			t.Errorf("%q: %v (hint %q), want %q", peers, err, catenet.HintOf(err), want)
		}
	}
	inward := network("a1", "10.2.0.0/24=192.0.2.2", "10.1.0.0/24").NetworkSpec
	inward.Internal = true
	if err := d.Validate(inward); !catenet.IsUnsupported(err) {
		t.Errorf("an internal network: %v", err)
	}
	if err := d.Validate(network("a1", " 10.2.0.0/24=192.0.2.2, fd00:2::/64=2001:DB8::2,", "10.1.0.0/24", "fd00:1::/64").NetworkSpec); err != nil {
		t.Error(err)
	}
}

// The other hosts are let in, told of, and reached; one that is on no wire keeps no
// other, and is told of.
func TestUp(t *testing.T) {
	k := fake.New()
	n := network("a1", "10.2.0.0/24=192.0.2.2,10.3.0.0/24=198.51.100.3", "10.1.0.0/24")
	state, err := New(bridge.New()).Up(context.Background(), k, n)
	if err != nil || !catenet.IsNotFound(state.Trouble) || !strings.Contains(state.Trouble.Error(), "198.51.100.3") {
		t.Errorf("up: %v, trouble %v", err, state.Trouble)
	}
	w := state.Firewall[0]
	if len(w.Span) != 3 || !slices.Equal(w.By, []string{"eth0"}) || len(w.Hosts) != 2 || len(state.Peers) != 2 {
		t.Errorf("state %+v", state)
	}
	reached, err := k.Reached(context.Background())
	if err != nil || len(reached) != 1 || reached[0].Subnet != netip.MustParsePrefix("10.2.0.0/24") {
		t.Errorf("reached %+v %v", reached, err)
	}
	other := kernel.Reach{Link: "eth0", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Via: netip.MustParseAddr("192.0.2.9")}
	if err := k.Reach(context.Background(), []kernel.Reach{other}, nil); err != nil {
		t.Fatal(err)
	}
	if err := New(bridge.New()).Down(context.Background(), k, n); err != nil {
		t.Fatal(err)
	}
	if reached, _ = k.Reached(context.Background()); len(reached) != 1 || reached[0].Subnet != other.Subnet {
		t.Errorf("after it is down: %+v", reached)
	}
}
