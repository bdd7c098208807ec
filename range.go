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
