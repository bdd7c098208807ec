package nft

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// maxList is how many bytes of elements go into one message: an attribute
// has 16 bits for its length.
const maxList = 60000

// encoded is a transaction as messages; of[i] is the step that message i
// belongs to, -1 for the frame around them.
type encoded struct {
	msgs []wire.Message
	of   []int
}

// encode writes a batch: its frame, and in between the steps. Only the last
// step asks for an acknowledgement; a message that fails answers unasked.
func encode(b Batch) encoded {
	var e encoded
	e.frame(unix.NFNL_MSG_BATCH_BEGIN)
	for i, op := range b {
		e.op(i, op)
	}
	e.msgs[len(e.msgs)-1].Flags |= flagAck
	e.frame(unix.NFNL_MSG_BATCH_END)
	return e
}

func (e *encoded) frame(typ uint16) {
	e.msgs = append(e.msgs, wire.Message{
		Type: typ, Flags: flagRequest,
		Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	})
	e.of = append(e.of, -1)
}

// header is a struct nfgenmsg: family, version 0, and a resource number,
// which of a batch's frame is the subsystem.
func header(family Family, res uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{byte(family), 0}, res)
}

func (e *encoded) add(step int, typ uint16, flags uint16, f Family, b attrs) {
	e.msgs = append(e.msgs, wire.Message{
		Type: messageType(typ), Flags: flagRequest | flags,
		Data: append(header(f, 0), b...),
	})
	e.of = append(e.of, step)
}

func messageType(typ uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | typ }

func (e *encoded) op(i int, op Op) {
	f := op.Table.Family
	var b attrs
	b.str(1, op.Table.Name) // the table is attribute 1 of every message
	switch op.Do {
	case AddTable:
		b.u32(2, op.Flags)
		e.add(i, unix.NFT_MSG_NEWTABLE, flagCreate, f, b)
	case DeleteTable:
		e.add(i, unix.NFT_MSG_DELTABLE, 0, f, b)
	case AddChain:
		encodeChain(&b, op.Chain)
		e.add(i, unix.NFT_MSG_NEWCHAIN, flagCreate, f, b)
	case DeleteChain:
		b.str(3, op.Chain.Name)
		e.add(i, unix.NFT_MSG_DELCHAIN, 0, f, b)
	case FlushChain:
		b.str(2, op.Chain.Name)
		e.add(i, unix.NFT_MSG_DELRULE, 0, f, b)
	case AddRules:
		b.str(2, op.Chain.Name)
		for _, r := range op.Chain.Rules {
			rb := append(attrs(nil), b...)
			encodeRule(&rb, r)
			e.add(i, unix.NFT_MSG_NEWRULE, flagCreate|flagAppend, f, rb)
		}
	case AddSet:
		encodeSet(&b, op.Set, uint32(i)+1)
		e.add(i, unix.NFT_MSG_NEWSET, flagCreate, f, b)
	case AddElements:
		e.elements(i, unix.NFT_MSG_NEWSETELEM, flagCreate, op)
	case DeleteElements:
		e.elements(i, unix.NFT_MSG_DELSETELEM, 0, op)
	}
}

func encodeChain(b *attrs, c Chain) {
	b.str(3, c.Name)
	if c.Hook == nil {
		return
	}
	b.nest(4, func() {
		b.u32(1, c.Hook.Num)
		b.u32(2, uint32(c.Hook.Priority))
	})
	b.u32(5, c.Hook.Policy)
	b.str(7, c.Hook.Type)
}

func encodeRule(b *attrs, r Rule) {
	b.nest(4, func() {
		for _, x := range r {
			b.nest(1, func() {
				b.str(1, x.Name)
				b.raw(2|unix.NLA_F_NESTED, x.Attrs)
			})
		}
	})
	b.raw(7, r.mark())
}

// Flags of a set.
const (
	setInterval uint32 = 4
	setMap      uint32 = 8
	setTimeout  uint32 = 16
	setEval     uint32 = 32 // rules add elements
)

func encodeSet(b *attrs, s Set, id uint32) {
	var flags uint32
	if s.Interval {
		flags |= setInterval
	}
	if s.Data != (Type{}) {
		flags |= setMap
	}
	if s.Timeout != 0 {
		flags |= setTimeout | setEval
	}
	b.str(2, s.Name)
	b.u32(3, flags)
	b.u32(4, s.Key.ID)
	b.u32(5, s.Key.Len)
	if s.Data != (Type{}) {
		b.u32(6, s.Data.ID)
		b.u32(7, s.Data.Len)
	}
	b.u32(10, id) // the kernel wants one, unique in the batch
	if s.Timeout != 0 {
		b.u64(11, uint64(s.Timeout.Milliseconds()))
		b.u32(12, uint32(time.Minute.Milliseconds())) // how often what is over is looked for
	}
	if s.Key == TypeIfname {
		// For nft(8) alone, which else shows names as empty: the byte order
		// of the key (type 0 of libnftnl's udata) is the host's (1).
		b.raw(13, binary.NativeEndian.AppendUint32([]byte{0, 4}, 1))
	}
}

// elements splits the elements over as many messages as they need. None at all
// are those that the set has.
func (e *encoded) elements(i int, typ uint16, flags uint16, op Op) {
	els := op.Set.Elements
	if len(els) == 0 {
		var b attrs
		b.str(1, op.Table.Name)
		b.str(2, op.Set.Name)
		e.add(i, typ, flags, op.Table.Family, b)
	}
	for len(els) > 0 {
		var b attrs
		b.str(1, op.Table.Name)
		b.str(2, op.Set.Name)
		n := 0
		b.nest(3, func() {
			for at := len(b); n < len(els) && len(b)-at < maxList; n++ {
				b.nest(1, func() { encodeElement(&b, els[n], op.Set.Data == TypeVerdict) })
			}
		})
		els = els[n:]
		e.add(i, typ, flags, op.Table.Family, b)
	}
}

func encodeElement(b *attrs, e Element, verdict bool) {
	b.value(1, []byte(e.Key))
	switch {
	case e.End:
		b.u32(3, 1) // NFT_SET_ELEM_INTERVAL_END
	case verdict:
		b.nest(2, func() { b.verdict(e.Verdict) })
	case e.Value != "":
		b.value(2, []byte(e.Value))
	}
}
