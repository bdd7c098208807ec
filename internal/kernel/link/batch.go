package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// native is the byte order of netlink: this machine's.
var native = binary.NativeEndian

// Constants of rtnetlink that golang.org/x/sys/unix lacks.
const (
	vethInfoPeer   = 1      // VETH_INFO_PEER
	ifaProto       = 11     // IFA_PROTO
	addrGenNone    = 1      // IN6_ADDR_GEN_MODE_NONE
	rtextSkipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
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
	m := wire.Message{Type: kind, Flags: flags | unix.NLM_F_REQUEST, Seq: uint32(len(b.whats))} // from 1
	b.buf = append(wire.Header(b.buf, m, len(body)), body...)                                   // a first length, see close
}

// close writes the length of the message being written.
func (b *batch) close() {
	if len(b.whats) > 0 {
		native.PutUint32(b.buf[b.open:], uint32(len(b.buf)-b.open))
	}
}

// reset empties it for further messages.
func (b *batch) reset() { b.buf, b.open, b.whats = b.buf[:0], 0, b.whats[:0] }

// empty tells whether nothing was written.
func (b *batch) empty() bool { return len(b.whats) == 0 }

// attr appends an attribute.
func (b *batch) attr(kind uint16, data []byte) {
	b.buf = wire.Bytes(b.buf, kind, data)
}

// addr appends an attribute that is an address.
func (b *batch) addr(kind uint16, a netip.Addr) {
	if a.Is4() {
		four := a.As4()
		b.attr(kind, four[:])
		return
	}
	sixteen := a.As16()
	b.attr(kind, sixteen[:])
}

func (b *batch) str(kind uint16, s string) {
	b.buf = wire.String(b.buf, kind, s)
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
	b.buf = wire.Begin(b.buf, kind)
	return at
}

func (b *batch) end(at int) { b.buf = wire.End(b.buf, at) }

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
	wire.Answer
}

func (r *refusal) Error() string {
	if r.Text != "" {
		return fmt.Sprintf("%s: %v (%s)", r.what, r.Errno, r.Text)
	}
	return fmt.Sprintf("%s: %v", r.what, r.Errno)
}

func (r *refusal) Unwrap() error { return r.Errno }
