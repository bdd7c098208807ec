package nft

import "encoding/binary"

// Expr is one expression of a rule: its name, and its attributes as the
// kernel takes them.
type Expr struct {
	Name  string
	Attrs []byte
}

// Registers: four of 16 bytes, which are also sixteen of 4 bytes. Keys of
// concatenated types are laid out from R0 on, 4 bytes a register.
const (
	R0 uint32 = 8 // NFT_REG32_00
	R1 uint32 = 9
	R2 uint32 = 10
	R3 uint32 = 11
	R4 uint32 = 12 // where a 16 byte address in R0 ends
	R5 uint32 = 13
	R8 uint32 = 16 // where a second one ends
	R9 uint32 = 17
)

// Keys of Meta (NFT_META_*).
const (
	MetaProtocol uint32 = 1 // ether type, 2 bytes, network order
	MetaMark     uint32 = 3 // 4 bytes, host order
	MetaIifname  uint32 = 6
	MetaOifname  uint32 = 7
	MetaNFProto  uint32 = 15 // 1 byte
	MetaL4Proto  uint32 = 16 // 1 byte
)

// Meta loads a property of the packet.
func Meta(key, reg uint32) Expr {
	var b attrs
	b.u32(1, reg)
	b.u32(2, key)
	return Expr{"meta", b}
}

// Bases of Payload.
const (
	Network   uint32 = 1
	Transport uint32 = 2
)

// Payload loads length bytes of the packet at an offset from a base. A
// packet that has none there does not match.
func Payload(base, offset, length, reg uint32) Expr {
	var b attrs
	b.u32(1, reg)
	b.u32(2, base)
	b.u32(3, offset)
	b.u32(4, length)
	return Expr{"payload", b}
}

// SetPayload writes the register over length bytes of the transport header at
// an offset, and mends the checksum at another.
func SetPayload(reg, offset, length, checksum uint32) Expr {
	var b attrs
	b.u32(2, Transport)
	b.u32(3, offset)
	b.u32(4, length)
	b.u32(5, reg)
	b.u32(6, 1) // NFT_PAYLOAD_CSUM_INET
	b.u32(7, checksum)
	return Expr{"payload", b}
}

// SetAddress writes the register over an IPv4 address of the network header, at
// an offset, and mends that header's checksum and the transport's, which covers
// the addresses too (RFC 768, RFC 9293 3.1).
func SetAddress(reg, offset uint32) Expr {
	var b attrs
	b.u32(2, Network)
	b.u32(3, offset)
	b.u32(4, 4)
	b.u32(5, reg)
	b.u32(6, 1)  // NFT_PAYLOAD_CSUM_INET
	b.u32(7, 10) // where it is in the header
	b.u32(8, 1)  // NFT_PAYLOAD_L4CSUM_PSEUDOHDR
	return Expr{"payload", b}
}

// Equal matches if the register begins with data.
func Equal(reg uint32, data []byte) Expr { return compare(0, reg, data) }

// NotEqual matches if it does not.
func NotEqual(reg uint32, data []byte) Expr { return compare(1, reg, data) }

func compare(op, reg uint32, data []byte) Expr {
	var b attrs
	b.u32(1, reg)
	b.u32(2, op)
	b.value(3, data)
	return Expr{"cmp", b}
}

// Mask ands the register with mask.
func Mask(reg uint32, mask []byte) Expr {
	var b attrs
	b.u32(1, reg)
	b.u32(2, reg)
	b.u32(3, uint32(len(mask)))
	b.value(4, mask)
	b.value(5, make([]byte, len(mask)))
	return Expr{"bitwise", b}
}

// Ifname is an interface name as MetaIifname loads it.
func Ifname(name string) []byte {
	b := make([]byte, 16) // IFNAMSIZ
	copy(b, name)
	return b
}

// Keys of CT, and bits of what they load (4 bytes, host order).
const (
	CTState  uint32 = 0
	CTStatus uint32 = 2

	StateEstablished uint32 = 2
	StateRelated     uint32 = 4
	StatusDNAT       uint32 = 1 << 5 // IPS_DST_NAT
)

// CT matches if any of the bits is set in a property of the packet's
// connection.
func CT(key, bits uint32) []Expr {
	var b attrs
	b.u32(1, R0)
	b.u32(2, key)
	mask := binary.NativeEndian.AppendUint32(nil, bits)
	return []Expr{{"ct", b}, Mask(R0, mask), NotEqual(R0, make([]byte, 4))}
}

// DaddrType loads the type of the route to the destination (4 bytes, host
// order, RTN_*).
func DaddrType(reg uint32) Expr {
	var b attrs
	b.u32(1, reg)
	b.u32(2, 3) // NFT_FIB_RESULT_ADDRTYPE
	b.u32(3, 2) // NFTA_FIB_F_DADDR
	return Expr{"fib", b}
}

// AddrLocal is the type of the host's own addresses (RTN_LOCAL).
var AddrLocal = binary.NativeEndian.AppendUint32(nil, 2)

// Lookup matches if the key is in the set.
func Lookup(set string, key uint32) Expr {
	var b attrs
	b.str(1, set)
	b.u32(2, key)
	return Expr{"lookup", b}
}

// NotIn matches if the key is not in the set.
func NotIn(set string, key uint32) Expr {
	x := Lookup(set, key)
	b := attrs(x.Attrs)
	b.u32(5, 1) // NFT_LOOKUP_F_INV
	x.Attrs = b
	return x
}

// AddTo puts the key into a set of a timeout, for that long.
func AddTo(set Set, key uint32) Expr {
	var b attrs
	b.str(1, set.Name)
	b.u32(3, 0) // NFT_DYNSET_OP_ADD
	b.u32(4, key)
	b.u64(6, uint64(set.Timeout.Milliseconds()))
	return Expr{"dynset", b}
}

// LookupTo matches if the key is in the map, and loads its value.
func LookupTo(set string, key, to uint32) Expr {
	var b attrs
	b.str(1, set)
	b.u32(2, key)
	b.u32(3, to)
	return Expr{"lookup", b}
}

// LookupVerdict does as the map of verdicts says, if the key is in it.
func LookupVerdict(set string, key uint32) Expr { return LookupTo(set, key, 0) }

// Immediate loads data.
func Immediate(reg uint32, data []byte) Expr {
	var b attrs
	b.u32(1, reg)
	b.value(2, data)
	return Expr{"immediate", b}
}

// Do ends the rule with a verdict.
func Do(v Verdict) Expr {
	var b attrs
	b.u32(1, 0)
	b.nest(2, func() { b.verdict(v) })
	return Expr{"immediate", b}
}

// DNAT sends the connection to the address and port in two registers.
func DNAT(f Family, addr, port uint32) Expr {
	var b attrs
	b.u32(1, 1) // NFT_NAT_DNAT
	b.u32(2, uint32(f))
	b.u32(3, addr)
	b.u32(5, port)
	return Expr{"nat", b}
}

// SNAT hides the source behind the address in a register.
func SNAT(f Family, addr uint32) Expr {
	var b attrs
	b.u32(1, 0) // NFT_NAT_SNAT
	b.u32(2, uint32(f))
	b.u32(3, addr)
	return Expr{"nat", b}
}

// Masquerade hides the source behind the address of the outgoing interface.
func Masquerade() Expr { return Expr{"masq", nil} }
