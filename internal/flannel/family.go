package flannel

import (
	"net/netip"

	"github.com/catenet/catenet"
)

// family is what differs between the two halves of a config.
type family struct {
	prefix  string // of its keys
	example string // of its Network
	bits    int    // of an address
	usual   int    // length of a subnet in a network that has room for four of them
}

// nobodys are addresses that no host can have, or none that others reach (RFC 6890).
var nobodys = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// fill checks one half of a config, and fills in what it does not say: the first
// subnet is left out, and where four of the usual length do not fit the network is
// parted in four.
func (f family) fill(network string, length uint, low, high string) (net netip.Prefix, bits int, first, last netip.Addr, err error) {
	fail := func(err error) (netip.Prefix, int, netip.Addr, netip.Addr, error) {
		return netip.Prefix{}, 0, netip.Addr{}, netip.Addr{}, err
	}
	if net, err = f.network(network); err != nil {
		return fail(err)
	}
	if bits, err = f.length(net, length); err != nil {
		return fail(err)
	}
	first = next(netip.PrefixFrom(net.Addr(), bits)).Addr()
	if err := f.bound("SubnetMin", low, net, bits, &first); err != nil {
		return fail(err)
	}
	last = netip.PrefixFrom(end(net), bits).Masked().Addr()
	if err := f.bound("SubnetMax", high, net, bits, &last); err != nil {
		return fail(err)
	}
	if last.Less(first) {
		return fail(catenet.Invalidf("flannel config: %sSubnetMax: %v is before the first subnet, %v", f.prefix, last, first).WithHint("leave both out for all of the network"))
	}
	return net, bits, first, last, nil
}

func (f family) network(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().BitLen() != f.bits || p.Addr().Is4In6() {
		return p, catenet.Invalidf("flannel config: %sNetwork: no subnet of that family: %q", f.prefix, text).WithHint("such as %s", f.example)
	}
	if most := f.bits - 4; p.Bits() > most {
		return p, catenet.Invalidf("flannel config: %sNetwork: %v has no room for four nodes", f.prefix, p).WithHint("a network of /%d at most", most)
	}
	for _, no := range nobodys {
		if no.Overlaps(p) {
			return p, catenet.Invalidf("flannel config: %sNetwork: %v has addresses that no host can have, of %v", f.prefix, p, no).WithHint("such as %s", f.example)
		}
	}
	return p.Masked(), nil
}

func (f family) length(net netip.Prefix, length uint) (int, error) {
	least, most := net.Bits()+2, f.bits-2
	switch {
	case length == 0:
		return max(f.usual, least), nil
	case length < uint(least), length > uint(most):
		return 0, catenet.Invalidf("flannel config: %sSubnetLen: %d does not go with a network of %v", f.prefix, length, net).WithHint("%d to %d, so that there are four subnets with two hosts at least", least, most)
	}
	return int(length), nil
}

// bound reads the address of the first or last subnet, unless nothing is said.
func (f family) bound(key, text string, net netip.Prefix, bits int, addr *netip.Addr) error {
	if text == "" {
		return nil
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || !net.Contains(a):
		return catenet.Invalidf("flannel config: %s%s: no address in %v: %q", f.prefix, key, net, text).WithHint("such as %v", *addr)
	case netip.PrefixFrom(a, bits).Masked().Addr() != a:
		return catenet.Invalidf("flannel config: %s%s: no subnet of /%d begins at %v", f.prefix, key, bits, a).WithHint("such as %v", netip.PrefixFrom(a, bits).Masked().Addr())
	}
	*addr = a
	return nil
}

// end returns the last address of a subnet.
func end(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// next returns the subnet of the same length behind one; behind the last of all
// addresses there is none, and it is invalid.
func next(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(end(p).Next(), p.Bits())
}
