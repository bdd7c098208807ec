package ipam

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// number is an IP address as a 128-bit integer; an IPv4 address is its 32
// bits.
type number struct{ hi, lo uint64 }

func toNumber(a netip.Addr) number {
	if a.Is4() {
		b := a.As4()
		return number{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr is the inverse of toNumber for a family.
func (n number) addr(is4 bool) netip.Addr {
	if is4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b)
}

func (n number) less(m number) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

// plus wraps around at 2^128.
func (n number) plus(m number) number {
	lo, carry := bits.Add64(n.lo, m.lo, 0)
	hi, _ := bits.Add64(n.hi, m.hi, carry)
	return number{hi, lo}
}

// minus is the inverse of plus.
func (n number) minus(m number) number {
	lo, borrow := bits.Sub64(n.lo, m.lo, 0)
	hi, _ := bits.Sub64(n.hi, m.hi, borrow)
	return number{hi, lo}
}

var one = number{lo: 1}

// ones returns 2^n - 1, for n up to 128.
func ones(n int) number {
	if n <= 64 {
		return number{lo: 1<<n - 1}
	}
	return number{1<<(n-64) - 1, ^uint64(0)}
}

// first and last are the ends of a prefix, which must be masked.
func first(p netip.Prefix) number { return toNumber(p.Addr()) }

func last(p netip.Prefix) number {
	return first(p).plus(ones(p.Addr().BitLen() - p.Bits()))
}
