package link

import (
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// shaping is how a link was last seen to be shaped; nil is what was not seen yet,
// of a link that is new.
type shaping struct {
	bucket *bucket
	to     *int // the link that what arrives is led to
}

// shaped reads an event about a qdisc or a filter. The end of one is told,
// whosever it was: by it a link of ours may have lost its rate or its way. What
// comes, or is merely looked at (see conn.bucket), is told where it gives a link
// another rate or another way than before.
func (w *watch) shaped(nsid int, m wire.Message) {
	if nsid != atHost || len(m.Data) < tcBodyLen {
		return
	}
	index := int(native.Uint32(m.Data[4:]))
	name := w.names[index]
	if name == "" || w.h.isRemoving(name, false) || !w.reshaped(index, m) {
		return
	}
	w.lost(kernel.Loss{Link: name})
}

// reshaped reports whether a link may be shaped otherwise than before, after an
// event. A qdisc without a handle is the one that each link begins with.
func (w *watch) reshaped(index int, m wire.Message) bool {
	handle, parent, info := native.Uint32(m.Data[8:]), native.Uint32(m.Data[12:]), native.Uint32(m.Data[16:])
	was := w.shapes[index]
	now := was
	switch {
	case m.Type == unix.RTM_DELQDISC:
		return handle != 0
	case m.Type == unix.RTM_DELTFILTER:
		return true
	case m.Type == unix.RTM_NEWQDISC && parent == tcRoot && handle != 0:
		b := readBucket(m.Data)
		now.bucket = &b
		w.shapes[index] = now
		return was.bucket != nil && *was.bucket != b
	case m.Type == unix.RTM_NEWTFILTER && info&0xffff0000 == tcThrough:
		to := readThrough(m.Data[tcBodyLen:])
		now.to = &to
		w.shapes[index] = now
		return was.to != nil && *was.to != to
	}
	return false
}
