package flannel

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// Subnets are a node's: of IPv4 always, of IPv6 in a dual stack network.
type Subnets struct {
	IPv4 netip.Prefix `json:"ipv4,omitzero"`
	IPv6 netip.Prefix `json:"ipv6,omitzero"`
}

// IsZero reports whether there are none.
func (s Subnets) IsZero() bool { return s == Subnets{} }

// overlap reports whether an address is in both.
func (s Subnets) overlap(o Subnets) bool {
	return s.IPv4.Overlaps(o.IPv4) || s.IPv6.Overlaps(o.IPv6)
}

// Key returns the last part of their key: 10.5.48.0-24, or 10.5.48.0-24&fd00::-64.
func (s Subnets) Key() string {
	key := strings.Replace(s.IPv4.String(), "/", "-", 1)
	if s.IPv6.IsValid() {
		key += "&" + strings.Replace(s.IPv6.String(), "/", "-", 1)
	}
	return key
}

// String returns them as people write subnets.
func (s Subnets) String() string {
	if s.IPv6.IsValid() {
		return s.IPv4.String() + " and " + s.IPv6.String()
	}
	return s.IPv4.String()
}

// ParseKey is the inverse of Key. Only what Key would write is right: two keys
// of one subnet would be two owners.
func ParseKey(key string) (Subnets, error) {
	four, six, dual := strings.Cut(key, "&")
	s := Subnets{IPv4: parsePart(four)}
	if dual {
		s.IPv6 = parsePart(six)
	}
	if !s.IPv4.IsValid() || !s.IPv4.Addr().Is4() || dual && (!s.IPv6.IsValid() || !s.IPv6.Addr().Is6()) || s.Key() != key {
		return Subnets{}, catenet.Invalidf("no key of a subnet: %q", key).WithHint("such as 10.5.48.0-24, or 10.5.48.0-24&fd00::-64")
	}
	return s, nil
}

// parsePart reads ADDRESS-LENGTH; anything else is the zero prefix.
func parsePart(text string) netip.Prefix {
	addr, bits, _ := strings.Cut(text, "-")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4In6() || a.Zone() != "" {
		return netip.Prefix{}
	}
	n, err := strconv.Atoi(bits)
	if err != nil {
		return netip.Prefix{}
	}
	p, err := a.Prefix(n)
	if err != nil || p.Addr() != a {
		return netip.Prefix{}
	}
	return p
}
