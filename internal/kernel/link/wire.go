package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// native is the byte order of netlink: this machine's.
var native = binary.NativeEndian

// Constants of rtnetlink that golang.org/x/sys/unix lacks.
const (
	vethInfoPeer       = 1      // VETH_INFO_PEER
	ifaProto           = 11     // IFA_PROTO
	addrGenNone        = 1      // IN6_ADDR_GEN_MODE_NONE
	rtextSkipStats     = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	nlaNested          = 1 << 15
	nlaTypeMask        = 1<<14 - 1
	capAck, extAckAttr = unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK
)

// batch is a row of netlink messages that go to the kernel in one call. It
// handles them in order, and goes on behind one that failed.
type batch struct {
	buf   []byte
	open  int      // offset of the message being written
	whats []string // what each message does, for errors
}

// message begins a message; body is its fixed header (ifinfomsg and the
// like).
func (b *batch) message(what string, kind, flags uint16, body []byte) {
	b.close()
	b.open = len(b.buf)
	b.whats = append(b.whats, what)
	b.buf = native.AppendUint32(b.buf, 0) // length, see close
	b.buf = native.AppendUint16(b.buf, kind)
	b.buf = native.AppendUint16(b.buf, flags|unix.NLM_F_REQUEST)
	b.buf = native.AppendUint32(b.buf, uint32(len(b.whats))) // sequence: from 1
	b.buf = native.AppendUint32(b.buf, 0)
	b.buf = append(b.buf, body...)
}

// close writes the length of the message being written.
func (b *batch) close() {
	if len(b.whats) > 0 {
		native.PutUint32(b.buf[b.open:], uint32(len(b.buf)-b.open))
	}
}

// empty tells whether nothing was written.
func (b *batch) empty() bool { return len(b.whats) == 0 }

// attr appends an attribute.
func (b *batch) attr(kind uint16, data []byte) {
	at := b.nest(kind)
	b.buf = append(b.buf, data...)
	b.end(at)
}

func (b *batch) str(kind uint16, s string) {
	at := b.nest(kind)
	b.buf = append(append(b.buf, s...), 0)
	b.end(at)
}

func (b *batch) u32(kind uint16, v uint32) {
	at := b.nest(kind)
	b.buf = native.AppendUint32(b.buf, v)
	b.end(at)
}

func (b *batch) flag(kind uint16, v bool) {
	at := b.nest(kind)
	var n byte
	if v {
		n = 1
	}
	b.buf = append(b.buf, n)
	b.end(at)
}

// nest begins an attribute that holds others; end(what it returned) ends it.
func (b *batch) nest(kind uint16) int {
	at := len(b.buf)
	b.buf = native.AppendUint16(b.buf, 0)
	b.buf = native.AppendUint16(b.buf, kind)
	return at
}

func (b *batch) end(at int) {
	native.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

// message is one that came from the kernel.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// messages splits what one receive returned.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(native.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) {
				return
			}
			m := message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), b[unix.SizeofNlMsghdr:n]}
			if !yield(m) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// attrs splits a row of attributes; the flag bits are taken off the types.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(native.Uint16(b))
			if n < unix.SizeofRtAttr || n > len(b) {
				return
			}
			if !yield(native.Uint16(b[2:])&nlaTypeMask, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// text reads a string attribute.
func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// number reads an attribute of 1, 2 or 4 bytes; any other is 0.
func number(b []byte) uint32 {
	switch len(b) {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(native.Uint16(b))
	case 4:
		return native.Uint32(b)
	}
	return 0
}

// refusal is the kernel's answer to one message that it refused.
type refusal struct {
	index int // of the message in its batch
	what  string
	errno unix.Errno
	text  string // the kernel's own words, where it has some
}

func (r *refusal) Error() string {
	if r.text != "" {
		return fmt.Sprintf("%s: %v (%s)", r.what, r.errno, r.text)
	}
	return fmt.Sprintf("%s: %v", r.what, r.errno)
}

func (r *refusal) Unwrap() error { return r.errno }

// readAck reads a message of type NLMSG_ERROR; errno 0 is an acknowledgement.
func readAck(m message) (errno unix.Errno, words string) {
	if len(m.body) < 4+unix.SizeofNlMsghdr {
		return unix.EBADMSG, ""
	}
	errno = unix.Errno(-int32(native.Uint32(m.body)))
	if m.flags&unix.NLM_F_ACK_TLVS != 0 { // with capAck only the header of ours is repeated
		for kind, data := range attrs(m.body[4+unix.SizeofNlMsghdr:]) {
			if kind == unix.NLMSGERR_ATTR_MSG {
				words = text(data)
			}
		}
	}
	return errno, words
}
