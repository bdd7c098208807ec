package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// attrs is a list of netlink attributes being written. nf_tables wants its
// numbers in network order.
type attrs []byte

func (b *attrs) raw(typ uint16, data []byte) { *b = wire.Bytes(*b, typ, data) }

func (b *attrs) str(typ uint16, s string) { *b = wire.String(*b, typ, s) }

func (b *attrs) u32(typ uint16, v uint32) {
	*b = binary.BigEndian.AppendUint32(wire.Begin(*b, typ), v)
	*b = wire.End(*b, len(*b)-8)
}

func (b *attrs) u64(typ uint16, v uint64) {
	*b = binary.BigEndian.AppendUint64(wire.Begin(*b, typ), v)
	*b = wire.End(*b, len(*b)-12)
}

// nest writes what fn writes into one attribute, at most 64 KiB.
func (b *attrs) nest(typ uint16, fn func()) {
	at := len(*b)
	*b = wire.Begin(*b, typ|unix.NLA_F_NESTED)
	fn()
	*b = wire.End(*b, at)
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
	for typ, data := range wire.Attrs(b) {
		fn(attr{typ, data})
		b = b[min(wire.Align(unix.SizeofNlAttr+len(data)), len(b)):]
	}
	if len(b) > 0 {
		return errMalformed
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

func (a attr) u64() uint64 {
	if len(a.data) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(a.data)
}

// str is the text in an attribute.
func (a attr) str() string { return wire.Text(a.data) }
