package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// DeleteLinks removes links, those of them that are ours. One that cannot be
// looked at keeps no other. Each
// RTM_DELLINK waits for an RCU grace period, in one send too; but links of
// one group go by one message, and wait once together.
func (h *Host) DeleteLinks(ctx context.Context, names ...string) error {
	return h.with(ctx, func(c *conn) error {
		var present []string
		var errs []error
		for _, name := range names {
			cur, err := c.link(name)
			if err != nil {
				errs = append(errs, fmt.Errorf("look up link %q: %w", name, err))
			} else if cur != nil && (cur.ours() || cur.cut()) {
				present = append(present, name)
			}
		}
		return errors.Join(append(errs, h.remove(c, present...))...)
	})
}

// cut tells whether the link is a veth of our name whose making was cut short:
// it has no alias yet.
func (i *info) cut() bool {
	return i.alias == "" && i.kind == "veth" && strings.HasPrefix(i.name, kernel.EndpointLinkPrefix)
}

// remove deletes links of the host, whosever they are, and has the watch
// expect it. An absent one is no error.
func (h *Host) remove(c *conn, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	var b batch
	if len(names) == 1 {
		b.message("remove link "+names[0], unix.RTM_DELLINK, 0, ifinfo(0, 0, 0))
		b.str(unix.IFLA_IFNAME, names[0])
	} else {
		group := newGroup()
		for _, name := range names {
			b.message("group link "+name, unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0))
			b.str(unix.IFLA_IFNAME, name)
			b.u32(unix.IFLA_GROUP, group)
		}
		b.message("remove links", unix.RTM_DELLINK, 0, ifinfo(0, 0, 0))
		b.u32(unix.IFLA_GROUP, group)
	}
	h.expect(names...)
	refused, err := h.run(c, &b)
	if err != nil {
		h.unexpect(names...)
		return err
	}
	for _, r := range refused {
		if !isAbsent(r.Errno) {
			h.unexpect(names...)
			return translate(r)
		}
		if r.index < len(names) {
			h.unexpect(names[r.index])
		}
	}
	return nil
}

// newGroup returns the number of a link group that nobody else uses: groups
// are numbered by hand, from below, and this is one of 2^31 above.
func newGroup() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return native.Uint32(b[:]) | 1<<31
}

// expect notes that links go by our own hand, which is no loss.
func (h *Host) expect(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == 0 {
		return
	}
	for _, name := range names {
		h.removing[name] = struct{}{}
	}
}

// unexpect takes that back, for links that did not go: their next end is a
// loss again.
func (h *Host) unexpect(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		delete(h.removing, name)
	}
}
