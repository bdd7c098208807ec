package ipam

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// DefaultPools are the ranges that Docker's local networks come from:
// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 as /20s.
func DefaultPools() []catenet.AddressPool {
	pools := make([]catenet.AddressPool, 0, 16)
	for i := byte(17); i <= 31; i++ {
		pools = append(pools, catenet.AddressPool{Base: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i}), 16), Size: 16})
	}
	return append(pools, catenet.AddressPool{Base: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168}), 16), Size: 20})
}

// Choose returns the first subnet of the default pools, in their order, that
// overlaps none of taken: the subnets of other networks, and the routes and
// addresses of the host. With nothing left the error is of KindExhausted.
func Choose(defaults []catenet.AddressPool, taken []netip.Prefix) (netip.Prefix, error) {
	for _, d := range defaults {
		if _, err := d.Fault(); err != nil {
			return netip.Prefix{}, err
		}
	}
	return choose(defaults, taken)
}

// choose is Choose for pools that are right, or whose subnets have room for
// no gateway.
func choose(defaults []catenet.AddressPool, taken []netip.Prefix) (netip.Prefix, error) {
	for _, d := range defaults {
		if p, ok := cut(d, taken); ok {
			return p, nil
		}
	}
	return netip.Prefix{}, catenet.Errorf(catenet.KindExhausted,
		"every subnet of the default pools overlaps a network or a route of this host").
		WithHint("name a subnet (--subnet), or remove networks that nobody uses (catenet network prune)")
}

// cut returns the first free subnet of one pool. It jumps over whatever is in
// the way, so that a large pool of small subnets costs no more steps than
// there are prefixes taken.
func cut(d catenet.AddressPool, taken []netip.Prefix) (netip.Prefix, bool) {
	is4, end := d.Base.Addr().Is4(), last(d.Base)
	for n := first(d.Base); !end.less(n); {
		p := netip.PrefixFrom(n.addr(is4), d.Size)
		past := n
		for _, t := range taken {
			if t.IsValid() && t.Overlaps(p) {
				past = last(p)
				if l := last(t.Masked()); past.less(l) {
					past = l
				}
				break
			}
		}
		if past == n {
			return p, true
		}
		if past.less(n) || !past.less(end) {
			break
		}
		n = past.plus(one)
	}
	return netip.Prefix{}, false
}

// ulaBits is the length of unique local subnets (RFC 4193, section 3.1).
const ulaBits = 64

// ChooseULA returns the first subnet of that length (0: 64) that overlaps none
// of taken from a unique local /48 (RFC 4193). Its 40-bit global ID is a hash of
// the seed, the node's identity: always the same on one node, and different on
// any other.
func ChooseULA(seed string, bits int, taken []netip.Prefix) (netip.Prefix, error) {
	sum := sha256.Sum256([]byte("catenet ula " + seed))
	var a [16]byte
	a[0] = 0xfd
	copy(a[1:6], sum[:])
	site := catenet.AddressPool{Base: netip.PrefixFrom(netip.AddrFrom16(a), 48), Size: cmp.Or(bits, ulaBits)}
	return choose([]catenet.AddressPool{site}, slices.Concat(taken, anycast(site)))
}

// anycast is the first subnet of a pool if it is IPv6 and longer than /64: an
// interface with 64 zero bits is none's (RFC 6164, section 5.2).
func anycast(d catenet.AddressPool) []netip.Prefix {
	if d.Base.Addr().Is4() || d.Size <= ulaBits {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(d.Base.Addr(), d.Size)}
}
