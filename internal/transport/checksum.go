package transport

import (
	"encoding/binary"
	"math/bits"
)

// Checksums of the Internet (RFC 1071): the ones' complement sum of 16-bit
// words. It may be taken in any byte order, if the result is stored in the same
// (section 2.B): here little-endian, which is what most machines read fastest.

// sum adds the words of b to a sum. A last odd byte counts as if a zero
// followed.
func sum(b []byte, acc uint64) uint64 {
	var carry uint64
	for len(b) >= 64 {
		w := b[:64:64]
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[16:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[24:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[32:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[40:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[48:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	acc, carry = bits.Add64(acc, last, carry)
	return acc + carry // which cannot overflow again: all ones and a carry make no carry
}

// fold brings a sum down to 16 bits.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&(1<<32-1)
	acc = acc>>32 + acc&(1<<32-1)
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc&0xffff)
}

// putSum stores the complement of a sum as a checksum.
func putSum(at []byte, acc uint64) { binary.LittleEndian.PutUint16(at, ^fold(acc)) }

// pseudo is the sum of the pseudo-header of an IPv4 packet (RFC 9293, 3.1; RFC
// 768) whose payload has n bytes.
func pseudo(p []byte, n int) uint64 {
	addresses := binary.LittleEndian.Uint64(p[12:20])
	return addresses&(1<<32-1) + addresses>>32 + uint64(p[9])<<8 + uint64(bits.ReverseBytes16(uint16(n)))
}

// sound tells whether the checksum of the TCP or UDP payload of a packet is
// right.
func sound(p []byte, header int) bool {
	return fold(sum(p[header:], pseudo(p, len(p)-header))) == 0xffff
}

// complete does the checksum that was left to us.
func complete(p []byte, start, offset int) bool {
	at := start + offset
	if start < ipHeader || at+2 > len(p) {
		return false
	}
	putSum(p[at:], sum(p[start:], 0))
	if p[9] == protoUDP && p[at] == 0 && p[at+1] == 0 {
		p[at], p[at+1] = 0xff, 0xff // a zero would mean that there is none
	}
	return true
}
