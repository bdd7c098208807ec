package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// checkPool checks one pool in itself. A gateway may be absent.
func checkPool(p catenet.Pool) error {
	if err := checkSubnet(p.Subnet); err != nil {
		return err
	}
	if r := p.Range; r.IsValid() {
		if r != r.Masked() {
			return catenet.Invalidf("range %s has bits set beyond its length", r).WithHint("it should be %s", r.Masked())
		}
		if r.Bits() < p.Subnet.Bits() || !p.Subnet.Contains(r.Addr()) {
			return catenet.Invalidf("range %s is not inside the subnet %s", r, p.Subnet)
		}
	}
	for i, r := range p.SetAside {
		if !p.Subnet.Contains(r.First) || !p.Subnet.Contains(r.Last) || r.Last.Less(r.First) {
			return catenet.Invalidf("the range %s, which is to be set aside, is not inside the subnet %s", r, p.Subnet)
		}
		for _, other := range p.SetAside[:i] {
			if other.Contains(r.First) || r.Contains(other.First) {
				return catenet.Invalidf("the ranges %s and %s, which are to be set aside, overlap", other, r).WithHint("name ranges that have no address in common")
			}
		}
	}
	seen := make(map[netip.Addr]string)
	if p.Gateway.IsValid() {
		if err := usable(p.Subnet, p.Gateway, "the gateway"); err != nil {
			return err
		}
		seen[p.Gateway] = "the gateway"
	}
	for _, name := range slices.Sorted(maps.Keys(p.Aux)) {
		a, what := p.Aux[name], fmt.Sprintf("the auxiliary address %q", name)
		if err := usable(p.Subnet, a, what); err != nil {
			return err
		}
		if other, dup := seen[a]; dup {
			return catenet.Invalidf("%s is %s, which is %s already", what, a, other).WithHint("give each an address of its own")
		}
		seen[a] = what
	}
	return nil
}

func checkSubnet(s netip.Prefix) error {
	if !s.IsValid() {
		return catenet.Invalidf("a pool has no subnet").WithHint("a range, a gateway and auxiliary addresses need a subnet that they are in (--subnet)")
	}
	if s.Addr().Is4In6() {
		return catenet.Invalidf("subnet %s is IPv4 written as IPv6", s).WithHint("write it as IPv4, like 10.1.0.0/16")
	}
	if s != s.Masked() {
		return catenet.Invalidf("subnet %s has bits set beyond its length", s).WithHint("it should be %s", s.Masked())
	}
	if s.IsSingleIP() {
		return catenet.Invalidf("subnet %s is too small: it is one address", s).WithHint("a network needs one for each container")
	}
	return catenet.ValidateRange("subnet", s)
}

// usable checks that an interface on the subnet can have the address.
func usable(subnet netip.Prefix, a netip.Addr, what string) error {
	if !subnet.Contains(a) {
		return catenet.Invalidf("%s %s is not in the subnet %s", what, a, subnet)
	}
	if pair(subnet) {
		return nil
	}
	if a == subnet.Addr() {
		if a.Is6() {
			return catenet.Invalidf("%s %s is the subnet's anycast address", what, a)
		}
		return catenet.Invalidf("%s %s is the address of the subnet itself", what, a)
	}
	if a.Is4() && toNumber(a) == last(subnet) {
		return catenet.Invalidf("%s %s is the broadcast address of %s", what, a, subnet)
	}
	return nil
}

// pair tells a subnet of two addresses, which are both for interfaces: a point
// to point link has no network and broadcast address (RFC 3021) and no
// anycast address (RFC 6164).
func pair(subnet netip.Prefix) bool { return subnet.Bits() == subnet.Addr().BitLen()-1 }
