package catenet

import (
	"net/netip"
	"strings"
)

// Range is the addresses from First to Last, both of them in it. As text it is
// FIRST-LAST, or FIRST if there is one only; a subnet is read too.
type Range struct{ First, Last netip.Addr }

// ParseRange reads a Range.
func ParseRange(s string) (Range, error) {
	var r Range
	var err error
	if first, last, ok := strings.Cut(s, "-"); ok {
		if r.First, err = netip.ParseAddr(first); err == nil {
			r.Last, err = netip.ParseAddr(last)
		}
	} else if p, bad := netip.ParsePrefix(s); bad == nil {
		r = RangeOf(p)
	} else {
		r.First, err = netip.ParseAddr(s)
		r.Last = r.First
	}
	if err != nil || r.First.Zone()+r.Last.Zone() != "" || r.First.Is4() != r.Last.Is4() || r.Last.Less(r.First) {
		return Range{}, Invalidf("%q is no range of addresses", s).WithHint("a range is written FIRST-LAST, ADDRESS or SUBNET, like 10.0.0.100-10.0.0.199")
	}
	return r, nil
}

// RangeOf is a whole subnet.
func RangeOf(p netip.Prefix) Range {
	last := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return Range{p.Masked().Addr(), end}
}

// Contains reports whether an address is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.BitLen() == a.BitLen() && !a.Less(r.First) && !r.Last.Less(a)
}

// String returns the range as ParseRange reads it.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText writes the range as ParseRange reads it.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads it.
func (r *Range) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRange(string(b))
	return err
}

// noContainers are ranges of addresses that no container can have (RFC 6890).
var noContainers = [...]struct{ prefix, what string }{
	{"0.0.0.0/8", "unspecified"},
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local"},
	{"224.0.0.0/4", "multicast"},
	{"255.255.255.255/32", "broadcast"},
	{"::/127", "unspecified and loopback"},
	{"::ffff:0:0/96", "IPv4-mapped"},
	{"fe80::/10", "link-local"},
	{"ff00::/8", "multicast"},
}

// ValidateRange checks that containers can have the addresses of a range,
// which is called what: "subnet".
func ValidateRange(what string, p netip.Prefix) error {
	for _, no := range noContainers {
		if netip.MustParsePrefix(no.prefix).Overlaps(p) {
			return Invalidf("%s %s overlaps %s: no container can have %s addresses", what, p, no.prefix, no.what).
				WithHint("use a private range: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8")
		}
	}
	return nil
}

// AddressPool is a range that subnets of one size are cut from, for networks
// that ask for none.
type AddressPool struct {
	Base netip.Prefix `yaml:"base"`
	Size int          `yaml:"size"` // prefix length of the subnets
}

// Fault says what is wrong with a pool that no subnet can be cut from in which
// a gateway and a container have room, and with which part of it: "base" or
// "size". It returns nil if nothing is.
func (p AddressPool) Fault() (part string, err *Error) {
	if !p.Base.IsValid() {
		return "base", Invalidf("a pool has no base").WithHint("its base is a subnet, like 10.0.0.0/8")
	}
	if p.Base != p.Base.Masked() {
		return "base", Invalidf("the base %s of a pool is an address within a subnet", p.Base).WithHint("its subnet is %s", p.Base.Masked())
	}
	if err := ValidateRange("the base of a pool", p.Base); err != nil {
		return "base", Invalidf("%w", err)
	}
	if least, most := p.Base.Bits(), p.Base.Addr().BitLen()-2; p.Size < least || p.Size > most {
		return "size", Invalidf("no subnets of size /%d can be cut from the pool %s", p.Size, p.Base).WithHint("the size is %d to %d", least, most)
	}
	return "", nil
}
