package flannel

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// choices is of how many free subnets one is chosen: nodes that come at once
// choose different ones.
const choices = 100

// fits reports whether subnets are such as the config would hand out.
func (c Config) fits(s Subnets) bool {
	return fits(s.IPv4, c.SubnetLen, c.SubnetMin, c.SubnetMax) &&
		(c.EnableIPv6 && fits(s.IPv6, c.IPv6SubnetLen, c.IPv6SubnetMin, c.IPv6SubnetMax) || !c.EnableIPv6 && !s.IPv6.IsValid())
}

func fits(p netip.Prefix, bits int, first, last netip.Addr) bool {
	return p.IsValid() && p.Bits() == bits && !p.Addr().Less(first) && !last.Less(p.Addr())
}

// choose picks subnets that overlap no key within the network, whoever's and
// however odd its record is, and have no host in them: the node's previous ones if they
// are free, else any.
func (c Config) choose(known map[string]*entry, self standpoint, previous Subnets) (Subnets, error) {
	var four, six []netip.Prefix
	hosts := append([]netip.Addr{self.PublicIP, self.PublicIPv6}, self.servers...)
	for _, e := range known {
		hosts = append(hosts, e.peer.PublicIP, e.peer.PublicIPv6)
		s, err := ParseKey(e.key)
		if err != nil {
			continue
		}
		if within(s.IPv4, c.Network) {
			four = append(four, s.IPv4)
		}
		if c.EnableIPv6 && within(s.IPv6, c.IPv6Network) {
			six = append(six, s.IPv6)
		}
	}
	for _, h := range hosts {
		if c.Network.Contains(h) {
			four = append(four, alone(h))
		} else if c.IPv6Network.Contains(h) {
			six = append(six, alone(h))
		}
	}
	if c.fits(previous) && isFree(previous.IPv4, four) && isFree(previous.IPv6, six) {
		return previous, nil
	}
	var s Subnets
	var err error
	if s.IPv4, err = anyFree(c.Network, c.SubnetLen, c.SubnetMin, c.SubnetMax, four); err == nil && c.EnableIPv6 {
		s.IPv6, err = anyFree(c.IPv6Network, c.IPv6SubnetLen, c.IPv6SubnetMin, c.IPv6SubnetMax, six)
	}
	return s, err
}

func isFree(p netip.Prefix, taken []netip.Prefix) bool {
	return !slices.ContainsFunc(taken, p.Overlaps)
}

// anyFree picks one of the first free subnets between two addresses. It goes
// through what is taken once, in order.
func anyFree(net netip.Prefix, bits int, first, last netip.Addr, taken []netip.Prefix) (netip.Prefix, error) {
	slices.SortFunc(taken, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	var free []netip.Prefix
	for p := netip.PrefixFrom(first, bits); p.Addr().IsValid() && !last.Less(p.Addr()) && len(free) < choices; {
		for len(taken) > 0 && end(taken[0]).Less(p.Addr()) {
			taken = taken[1:]
		}
		if len(taken) > 0 && taken[0].Overlaps(p) {
			p = next(netip.PrefixFrom(end(taken[0]), bits).Masked())
			continue
		}
		free = append(free, p)
		p = next(p)
	}
	if len(free) == 0 {
		return netip.Prefix{}, catenet.Errorf(catenet.KindExhausted, "no subnet is free in the flannel network %v", net).
			WithHint("nodes that are gone for good give theirs back within a day; or delete their keys")
	}
	return free[rand.IntN(len(free))], nil
}
