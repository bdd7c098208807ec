package nft

import (
	"encoding/binary"
	"strings"
)

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

// attr is one attribute that was read.
type attr struct {
	typ  uint16 // without flags
	data []byte
}

// walk calls fn with each attribute of a payload, up to one that does not
// hold what its length says: that is an error.
func walk(b []byte, fn func(attr)) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errMalformed
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return errMalformed
		}
		fn(attr{binary.NativeEndian.Uint16(b[2:]) & 0x3fff, b[4:n]})
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// u32 is the number in an attribute, 0 if there is none.
func (a attr) u32() uint32 {
	if len(a.data) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a.data)
}

// str is the text in an attribute, up to its NUL.
func (a attr) str() string {
	s, _, _ := strings.Cut(string(a.data), "\x00")
	return s
}
