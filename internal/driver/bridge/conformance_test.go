package bridge

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver/conformance"
)

// network is the i-th network of the tests.
func network(i int, name string, change func(*catenet.Network), subnets ...string) catenet.Network {
	n := catenet.Network{ID: strings.Repeat(fmt.Sprintf("%02x", 0xa0+i), 32)}
	n.Name, n.Driver, n.DisableIPv4 = name, "bridge", true
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		n.Pools = append(n.Pools, catenet.Pool{Subnet: p, Gateway: p.Addr().Next()})
		if p.Addr().Is4() {
			n.DisableIPv4 = false
		} else {
			n.IPv6 = true
		}
	}
	if change != nil {
		change(&n)
	}
	return n
}

func option(key, value string) func(*catenet.Network) {
	return func(n *catenet.Network) { n.Options = map[string]string{key: value} }
}

func TestConformance(t *testing.T) {
	conformance.Run(t, New(),
		network(1, "v4", nil, "10.51.0.0/24"),
		network(2, "v6", nil, "fd00:52::/64"),
		network(3, "dual", nil, "10.53.0.0/24", "fd00:53::/64"),
		network(4, "internal", func(n *catenet.Network) { n.Internal = true }, "10.54.0.0/24", "fd00:54::/64"),
		network(5, "small", option(catenet.OptionMTU, "1400"), "10.55.0.0/24", "fd00:55::/64"),
		network(6, "shy", option(optICC, "false"), "10.56.0.0/24"),
		network(7, "named", option(catenet.OptionBridge, "lab0"), "10.57.0.0/24"),
		network(9, "routed", option(catenet.OptionGatewayMode4, "routed"), "10.59.0.0/24"),
		network(10, "inhibited", option(catenet.OptionInhibit4, "true"), "10.60.0.0/24", "fd00:60::/64"),
		network(11, "isolated", func(n *catenet.Network) {
			n.Internal = true
			option(catenet.OptionGatewayMode4, "isolated")(n)
			n.Pools[0].Gateway = netip.Addr{}
		}, "10.61.0.0/24", "fd00:61::/64"),
		network(8, "predefined", func(n *catenet.Network) { n.Predefined = true }, "10.58.0.0/24"),
	)
}
