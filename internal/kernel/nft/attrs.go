package nft

import "encoding/binary"

// attrs is a list of netlink attributes being written (netlink(7)): each
// begins with its length and type, in host order, and is padded to 4 bytes.
// nf_tables wants its numbers in network order.
type attrs []byte

// nested marks an attribute that holds attributes (NLA_F_NESTED).
const nested = 0x8000

func (b *attrs) raw(typ uint16, data []byte) {
	*b = binary.NativeEndian.AppendUint16(*b, uint16(4+len(data)))
	*b = binary.NativeEndian.AppendUint16(*b, typ)
	*b = append(*b, data...)
	b.pad()
}

func (b *attrs) pad() {
	for len(*b)%4 != 0 {
		*b = append(*b, 0)
	}
}

func (b *attrs) str(typ uint16, s string) {
	*b = binary.NativeEndian.AppendUint16(*b, uint16(5+len(s)))
	*b = binary.NativeEndian.AppendUint16(*b, typ)
	*b = append(append(*b, s...), 0)
	b.pad()
}

func (b *attrs) u32(typ uint16, v uint32) {
	*b = binary.NativeEndian.AppendUint16(*b, 8)
	*b = binary.NativeEndian.AppendUint16(*b, typ)
	*b = binary.BigEndian.AppendUint32(*b, v)
}

// nest writes what fn writes into one attribute, at most 64 KiB.
func (b *attrs) nest(typ uint16, fn func()) {
	at := len(*b)
	*b = append(*b, 0, 0, 0, 0)
	fn()
	binary.NativeEndian.PutUint16((*b)[at:], uint16(len(*b)-at))
	binary.NativeEndian.PutUint16((*b)[at+2:], typ|nested)
}

// value writes NFTA_DATA_VALUE inside an attribute.
func (b *attrs) value(typ uint16, data []byte) {
	b.nest(typ, func() { b.raw(1, data) })
}

// verdict writes NFTA_DATA_VERDICT.
func (b *attrs) verdict(v Verdict) {
	b.nest(2, func() {
		b.u32(1, uint32(v.Code))
		if v.Chain != "" {
			b.str(2, v.Chain)
		}
	})
}
