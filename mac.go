package catenet

import (
	"net"
	"net/netip"
)

// MACFor returns the MAC that an endpoint with that address gets unasked:
// 02:42 and the four bytes of an IPv4 address, as with Docker; 02:46 and the
// interface identifier of an IPv6 address folded to four bytes. It is a local
// unicast address, and within a network of one family as unique as the
// addresses are (for IPv6: as their last four bytes, where the four before
// those are the same).
func MACFor(a netip.Addr) string {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}.String()
	}
	b := a.As16()
	return net.HardwareAddr{0x02, 0x46, b[8] ^ b[12], b[9] ^ b[13], b[10] ^ b[14], b[11] ^ b[15]}.String()
}
