// Package wire is what every netlink message is made of (netlink(7)): headers,
// attributes, and what the kernel answers. Lengths, types and the numbers of
// headers are in this machine's byte order.
package wire

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Message is one message.
type Message struct {
	Type, Flags uint16
	Seq, Port   uint32
	Data        []byte // behind the header
}

// HeaderLen is the size of the header, and attrLen of an attribute's, in bytes.
const (
	HeaderLen = unix.SizeofNlMsghdr
	attrLen   = unix.SizeofNlAttr
)

// typeMask takes the flags off the type of an attribute.
const typeMask = 1<<14 - 1

// Align is a length with its padding.
func Align(n int) int { return (n + 3) &^ 3 }

// Header appends the header of a message with n bytes of data.
func Header(b []byte, m Message, n int) []byte {
	b = native.AppendUint32(b, uint32(HeaderLen+n))
	b = native.AppendUint16(b, m.Type)
	b = native.AppendUint16(b, m.Flags)
	b = native.AppendUint32(b, m.Seq)
	return native.AppendUint32(b, m.Port)
}

// Messages splits what one receive returned, up to what does not hold what its
// length says.
func Messages(b []byte) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for len(b) >= HeaderLen {
			n := int(native.Uint32(b))
			if n < HeaderLen || n > len(b) {
				return
			}
			m := Message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), native.Uint32(b[12:]), b[HeaderLen:n]}
			if !yield(m) {
				return
			}
			b = b[min(Align(n), len(b)):]
		}
	}
}

// Begin appends the header of an attribute; End(b, where it began) ends it.
func Begin(b []byte, kind uint16) []byte {
	return native.AppendUint16(append(b, 0, 0), kind)
}

// End writes the length of the attribute that began at at, of 64 KiB at most,
// and pads it.
func End(b []byte, at int) []byte {
	native.PutUint16(b[at:], uint16(len(b)-at))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Bytes appends an attribute.
func Bytes(b []byte, kind uint16, data []byte) []byte {
	at := len(b)
	return End(append(Begin(b, kind), data...), at)
}

// String appends an attribute that is a text.
func String(b []byte, kind uint16, s string) []byte {
	at := len(b)
	return End(append(append(Begin(b, kind), s...), 0), at)
}

// Attrs splits a row of attributes, up to one that does not hold what its
// length says; the flags are taken off the types.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attrLen {
			n := int(native.Uint16(b))
			if n < attrLen || n > len(b) {
				return
			}
			if !yield(native.Uint16(b[2:])&typeMask, b[attrLen:n]) {
				return
			}
			b = b[min(Align(n), len(b)):]
		}
	}
}

// Text reads an attribute that is a text.
func Text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// Answer is what the kernel says of a request when it is done with it.
type Answer struct {
	Errno  unix.Errno // 0: it was carried out
	Text   string     // the kernel's own words, where it has some
	Offset uint32     // from the request's begin, of the attribute to blame; 0 for none
}

// Answer reads a message of type NLMSG_ERROR or NLMSG_DONE. One that makes no
// sense is an EBADMSG.
func (m Message) Answer() (a Answer) {
	if len(m.Data) < 4 {
		if m.Type != unix.NLMSG_DONE {
			a.Errno = unix.EBADMSG
		}
		return a
	}
	if errno := int32(native.Uint32(m.Data)); errno < 0 {
		a.Errno = unix.Errno(-errno)
	}
	if a.Errno == 0 || m.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return a
	}
	rest := m.Data[4:]
	if m.Type == unix.NLMSG_ERROR { // the header of the request, or all of it
		if len(rest) < HeaderLen {
			return Answer{Errno: unix.EBADMSG}
		}
		skip := HeaderLen
		if m.Flags&unix.NLM_F_CAPPED == 0 {
			skip = Align(int(native.Uint32(rest)))
		}
		if skip < HeaderLen || skip > len(rest) {
			return Answer{Errno: unix.EBADMSG}
		}
		rest = rest[skip:]
	}
	for kind, v := range Attrs(rest) {
		switch {
		case kind == unix.NLMSGERR_ATTR_MSG:
			a.Text = Text(v)
		case kind == unix.NLMSGERR_ATTR_OFFS && len(v) == 4:
			a.Offset = native.Uint32(v)
		}
	}
	return a
}
