package transport

import (
	"encoding/binary"
	"net/netip"
)

// An IPv4 header (RFC 791), and those of TCP (RFC 9293) and UDP (RFC 768), by
// their places in it.
const (
	ipHeader  = 20 // without options
	udpHeader = 8
	tcpHeader = 20 // without options

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	flagDF     = 0x4000
	flagMF     = 0x2000
	offsetMask = 0x1fff // in units of 8 bytes
)

var be = binary.BigEndian

// header returns the length of a packet's IP header; 0 if the packet is not
// IPv4 or its lengths lie.
func header(p []byte) int {
	if len(p) < ipHeader || p[0]>>4 != 4 || int(be.Uint16(p[2:])) != len(p) {
		return 0
	}
	n := int(p[0]&15) * 4
	if n < ipHeader || n > len(p) {
		return 0
	}
	return n
}

// isFragment tells whether a packet is a part of a bigger one.
func isFragment(p []byte) bool { return be.Uint16(p[6:])&(flagMF|offsetMask) != 0 }

func source(p []byte) netip.Addr      { return netip.AddrFrom4([4]byte(p[12:16])) }
func destination(p []byte) netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// age takes one off the TTL, and tells whether the packet may go on. The
// checksum follows (RFC 1624).
func age(p []byte) bool {
	if p[8] <= 1 {
		return false
	}
	p[8]--
	c := uint32(be.Uint16(p[10:])) + 0x0100
	be.PutUint16(p[10:], uint16(c+c>>16))
	return true
}

// seal stores the checksum of the IP header.
func seal(p []byte, header int) {
	p[10], p[11] = 0, 0
	putSum(p[10:], sum(p[:header], 0))
}

// isUnicast tells whether an address can be one host's, on some other host
// than its own (RFC 1122, 3.2.1.3).
func isUnicast(a netip.Addr) bool {
	b := a.As4()
	return b[0] != 0 && b[0] != 127 && b[0] < 224
}
