package catenet

import "net/netip"

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
