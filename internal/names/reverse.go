package names

import "net/netip"

const (
	reverse4 = "\x07in-addr\x04arpa"
	reverse6 = "\x03ip6\x04arpa"
)

// reverseAddr returns the address that a name below in-addr.arpa (RFC 1035,
// section 3.5) or ip6.arpa (RFC 3596, section 2.5) stands for.
func reverseAddr(name []byte) (netip.Addr, bool) {
	if rest, ok := cutSuffix(name, reverse4); ok {
		return reverseIPv4(rest)
	}
	rest, ok := cutSuffix(name, reverse6)
	if !ok || len(rest) != 64 {
		return netip.Addr{}, false
	}
	var a [16]byte
	for i := range 32 {
		digit, ok := hexDigit(rest[2*i+1])
		if !ok || rest[2*i] != 1 {
			return netip.Addr{}, false
		}
		a[15-i/2] |= digit << (4 * (i % 2))
	}
	return netip.AddrFrom16(a), true
}

func reverseIPv4(rest []byte) (netip.Addr, bool) {
	var a [4]byte
	for i := 3; i >= 0; i-- {
		if len(rest) == 0 || rest[0] > 3 {
			return netip.Addr{}, false
		}
		label := rest[1 : 1+rest[0]]
		rest = rest[1+len(label):]
		n := 0
		for _, c := range label {
			if c < '0' || c > '9' {
				return netip.Addr{}, false
			}
			n = 10*n + int(c-'0')
		}
		if n > 255 || len(label) > 1 && label[0] == '0' {
			return netip.Addr{}, false
		}
		a[i] = byte(n)
	}
	return netip.AddrFrom4(a), len(rest) == 0
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
