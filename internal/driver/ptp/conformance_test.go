package ptp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver/conformance"
)

// network is the i-th network of the tests.
func network(i int, name string, options map[string]string, subnets ...string) catenet.Network {
	n := catenet.Network{ID: strings.Repeat(fmt.Sprintf("%02x", 0xb0+i), 32)}
	n.Name, n.Driver, n.DisableIPv4, n.Options = name, "ptp", true, options
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		n.Pools = append(n.Pools, catenet.Pool{Subnet: p})
		if p.Addr().Is4() {
			n.DisableIPv4 = false
		} else {
			n.IPv6 = true
		}
	}
	return n
}

func TestConformance(t *testing.T) {
	conformance.Run(t, New(),
		network(1, "v4", nil, "10.61.0.0/30"),
		network(2, "v6", nil, "fd00:62::2/127"),
		network(3, "dual", nil, "10.63.0.0/31", "fd00:63::/64"),
		network(4, "small", map[string]string{catenet.OptionMTU: "1400"}, "10.64.0.0/24"),
	)
}
