package ipam

import (
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// Surroundings are what a network's pools have to fit in with.
type Surroundings struct {
	// Networks are those that exist; no pool may overlap one of theirs.
	Networks []catenet.Network
	// Host lists the host's routes and addresses. A subnet that is chosen
	// overlaps none; one that was asked for may, but for its gateway.
	Host []netip.Prefix
	// Defaults are what subnets are chosen from; with none of IPv4 these are
	// DefaultPools(), and with none of IPv6 unique local ones.
	Defaults []catenet.AddressPool
	Seed     string // of unique local addresses: the node's identity
	// Apart: the host is not in the network, and its pools have no gateway.
	Apart bool
	// Bits4 and Bits6 are the lengths of chosen subnets; 0: those of Defaults,
	// and 64.
	Bits4, Bits6 int
}

// Complete returns the pools of a network that is to be made: those that spec
// asks for, checked, and a chosen one for each family that it wants and names
// no subnet of. IPv4 comes first, and every pool has a gateway, unless its
// family is isolated: the first usable address if none was asked for. An error
// says what is wrong and what would be right.
func Complete(spec catenet.NetworkSpec, around Surroundings) ([]catenet.Pool, error) {
	if spec.DisableIPv4 && !spec.IPv6 {
		return nil, catenet.Invalidf("the network has neither IPv4 nor IPv6").WithHint("leave IPv4 on, or add --ipv6")
	}
	pools, err := Admit(spec, spec.Pools, around)
	if err != nil {
		return nil, err
	}
	for _, missing := range []struct {
		wanted bool
		is     func(catenet.Pool) bool
		choose func() (netip.Prefix, error)
	}{
		{!spec.DisableIPv4, isFour, around.choose4},
		{spec.IPv6, isSix, around.choose6},
	} {
		if !missing.wanted || slices.ContainsFunc(pools, missing.is) {
			continue
		}
		subnet, err := missing.choose()
		if err != nil {
			return nil, err
		}
		p, err := around.withGateway(spec, catenet.Pool{Subnet: subnet})
		if err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	slices.SortStableFunc(pools, func(a, b catenet.Pool) int { return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen() })
	return pools, nil
}

func isFour(p catenet.Pool) bool { return p.Subnet.Addr().Is4() }
func isSix(p catenet.Pool) bool  { return p.Subnet.Addr().Is6() }

// Admit checks pools that a network asks for, now or in addition, and gives
// each its gateway.
func Admit(spec catenet.NetworkSpec, asked []catenet.Pool, around Surroundings) ([]catenet.Pool, error) {
	var pools []catenet.Pool
	for _, p := range asked {
		if err := checkPool(p); err != nil {
			return nil, err
		}
		family, on, hint := "IPv4", !spec.DisableIPv4, "leave IPv4 on, or the subnet out"
		if isSix(p) {
			family, on, hint = "IPv6", spec.IPv6, "add --ipv6, or leave the subnet out"
		}
		if !on {
			return nil, catenet.Invalidf("subnet %s is %s, which the network has not", p.Subnet, family).
				WithHint("%s; that is settled when a network is made", hint)
		}
		for _, other := range pools {
			if other.Subnet.Overlaps(p.Subnet) {
				return nil, catenet.Invalidf("the subnets %s and %s overlap", other.Subnet, p.Subnet).WithHint("name subnets that have no address in common")
			}
		}
		if err := around.overlap(p.Subnet); err != nil {
			return nil, err
		}
		p, err := around.withGateway(spec, p)
		if err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	return pools, nil
}

func (s Surroundings) choose4() (netip.Prefix, error) {
	defaults := s.defaults(true)
	if defaults == nil {
		defaults = DefaultPools()
	}
	return s.choose(defaults, s.Bits4)
}

// choose6 returns a subnet of the default pools, or a unique local one where
// none of those is IPv6.
func (s Surroundings) choose6() (netip.Prefix, error) {
	defaults := s.defaults(false)
	if defaults == nil {
		return ChooseULA(s.Seed, s.Bits6, s.taken())
	}
	return s.choose(defaults, s.Bits6)
}

// defaults are the default pools of one family, nil where there is none.
func (s Surroundings) defaults(four bool) (pools []catenet.AddressPool) {
	for _, p := range s.Defaults {
		if p.Base.Addr().Is4() == four {
			pools = append(pools, p)
		}
	}
	return pools
}

// choose returns a subnet of the pools that is nobody's. One of a length of its
// own comes from their end, where it is least in the way of the others.
func (s Surroundings) choose(pools []catenet.AddressPool, bits int) (netip.Prefix, error) {
	if bits == 0 {
		return Choose(pools, s.taken())
	}
	taken, sized := s.taken(), slices.Clone(pools)
	slices.Reverse(sized)
	for i := range sized {
		sized[i].Size = bits
		taken = append(taken, anycast(sized[i])...)
	}
	return choose(sized, taken)
}

// withGateway gives a pool the gateway that it is to have.
func (s Surroundings) withGateway(spec catenet.NetworkSpec, p catenet.Pool) (catenet.Pool, error) {
	if !p.Gateway.IsValid() && (s.Apart || !spec.HasGateway(isFour(p))) {
		return p, nil
	}
	if most := p.Subnet.Addr().BitLen() - 2; p.Subnet.Bits() > most {
		return p, catenet.Invalidf("subnet %s is too small for a gateway and a container", p.Subnet).
			WithHint("the longest prefix of this family is /%d", most)
	}
	if !p.Gateway.IsValid() {
		var err error
		if p.Gateway, err = firstUsable(p); err != nil {
			return p, err
		}
	}
	return p, s.own(p.Gateway)
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
		if h.Addr() == gateway {
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
