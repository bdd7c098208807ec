package ipam

import (
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// Surroundings are what a new network's pools have to fit in with.
type Surroundings struct {
	// Networks are those that exist; no pool may overlap one of theirs.
	Networks []catenet.Network
	// Host lists the host's routes and addresses. A subnet that is chosen
	// overlaps none; one that was asked for may, but for its gateway.
	Host     []netip.Prefix
	Defaults []catenet.AddressPool // nil means DefaultPools()
	Seed     string                // of unique local addresses: the node's identity
}

// Complete returns the pools of a network: those that spec asks for, checked,
// and a chosen one for each family that it wants and names no subnet of. IPv4
// comes first, and every pool has a gateway, unless its family is isolated: the
// first usable address if none was asked for. An error says what is wrong and what would be right.
func Complete(spec catenet.NetworkSpec, around Surroundings) ([]catenet.Pool, error) {
	if spec.DisableIPv4 && !spec.IPv6 {
		return nil, catenet.Invalidf("the network has neither IPv4 nor IPv6").WithHint("leave IPv4 on, or add --ipv6")
	}
	var v4, v6 *catenet.Pool
	for _, p := range spec.Pools {
		if err := checkPool(p); err != nil {
			return nil, err
		}
		slot, family, on, hint := &v4, "IPv4", !spec.DisableIPv4, "leave IPv4 on, or the subnet out"
		if p.Subnet.Addr().Is6() {
			slot, family, on, hint = &v6, "IPv6", spec.IPv6, "add --ipv6, or leave the subnet out"
		}
		if !on {
			return nil, catenet.Invalidf("subnet %s is %s, which the network has not", p.Subnet, family).WithHint("%s", hint)
		}
		if *slot != nil {
			return nil, catenet.Invalidf("the network has two %s subnets, %s and %s", family, (*slot).Subnet, p.Subnet).
				WithHint("name at most one subnet of each family")
		}
		if err := around.overlap(p.Subnet); err != nil {
			return nil, err
		}
		if err := around.own(p.Gateway); err != nil {
			return nil, err
		}
		*slot = &p
	}
	return around.fill(spec, v4, v6)
}

// fill chooses the missing pools and gives each a gateway.
func (s Surroundings) fill(spec catenet.NetworkSpec, v4, v6 *catenet.Pool) ([]catenet.Pool, error) {
	taken := s.taken()
	if v4 == nil && !spec.DisableIPv4 {
		defaults := s.Defaults
		if defaults == nil {
			defaults = DefaultPools()
		}
		subnet, err := Choose(defaults, taken)
		if err != nil {
			return nil, err
		}
		v4 = &catenet.Pool{Subnet: subnet}
	}
	if v6 == nil && spec.IPv6 {
		subnet, err := ChooseULA(s.Seed, taken)
		if err != nil {
			return nil, err
		}
		v6 = &catenet.Pool{Subnet: subnet}
	}
	var pools []catenet.Pool
	for _, p := range []*catenet.Pool{v4, v6} {
		if p == nil {
			continue
		}
		if !p.Gateway.IsValid() && spec.HasGateway(p.Subnet.Addr().Is4()) {
			gw, err := firstUsable(*p)
			if err != nil {
				return nil, err
			}
			if err := s.own(gw); err != nil {
				return nil, err
			}
			p.Gateway = gw
		}
		pools = append(pools, *p)
	}
	return pools, nil
}

// taken lists what a chosen subnet must keep clear of.
func (s Surroundings) taken() []netip.Prefix {
	taken := slices.Clone(s.Host)
	for _, n := range s.Networks {
		for _, p := range n.Pools {
			taken = append(taken, p.Subnet)
		}
	}
	return taken
}

func (s Surroundings) overlap(subnet netip.Prefix) error {
	for _, n := range s.Networks {
		for _, p := range n.Pools {
			if p.Subnet.Overlaps(subnet) {
				return catenet.Conflictf("subnet %s overlaps %s of network %q", subnet, p.Subnet, n.Name).
					WithHint("name a subnet that overlaps no other, or none, to have one chosen")
			}
		}
	}
	return nil
}

// own refuses a gateway that is an address of the host already: the bridge
// would have it too.
func (s Surroundings) own(gateway netip.Addr) error {
	for _, h := range s.Host {
		if gateway.IsValid() && h.Addr() == gateway {
			return catenet.Conflictf("the gateway %s is an address of the host already, or a host that it has a route to", gateway).
				WithHint("name another --gateway, or a subnet that is nobody's")
		}
	}
	return nil
}

// firstUsable returns the pool's lowest address that is nobody's.
func firstUsable(p catenet.Pool) (netip.Addr, error) {
	p.Range = netip.Prefix{}
	pool, err := NewPool(p)
	if err != nil {
		return netip.Addr{}, err
	}
	return pool.Request(OwnerGateway, netip.Addr{})
}
