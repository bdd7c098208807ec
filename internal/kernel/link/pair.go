package link

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/netns"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// pair is what there is of a veth pair that two namespaces share.
type pair struct {
	waiting *info // the end that waits on the host; nil for none
	end     *info // the end that is in the namespace; nil for none
	ns      int   // by what number the host knows that; -1: no link of the host ever led there
}

// alone reports whether the two ends are one pair.
func (p pair) alone() bool {
	return p.waiting != nil && p.end != nil && p.waiting.peerNS == p.ns && p.waiting.peer == p.end.index
}

// JoinPair gives a namespace one end of a pair.
func (h *Host) JoinPair(ctx context.Context, l kernel.Link) error {
	h.pairs.Lock()
	defer h.pairs.Unlock()
	return h.with(ctx, func(c *conn) error {
		p, err := c.pair(l)
		if err != nil {
			return err
		}
		whole := p.end != nil && (p.waiting == nil || p.alone())
		if whole && p.end.name == l.Peer.Name {
			return h.resize(c, p.waiting, l.MTU)
		}
		if p.end != nil { // it leads elsewhere, or has another name
			if err := h.removeIn(c, p.ns, p.end); err != nil {
				return err
			}
		}
		if p.waiting == nil || p.alone() {
			return h.create(c, l, aim{name: l.Name, alias: l.Alias, mtu: l.MTU, down: true})
		}
		return h.admitEnd(c, p.waiting, l.Peer)
	})
}

// admitEnd moves the end that waits into a namespace. A name that is taken
// there the kernel would refuse when it has moved the link already.
func (h *Host) admitEnd(c *conn, waiting *info, to *kernel.Peer) error {
	err := netns.Do(to.NS, func() error {
		in, err := dial()
		if err != nil {
			return err
		}
		defer in.close()
		index, err := in.index(to.Name)
		if err == nil && index != 0 {
			err = catenet.Conflictf("there is an interface %s already where the pair of %s leads", to.Name, waiting.name).
				WithHint("choose another interface name for this endpoint")
		}
		return err
	})
	if err != nil {
		return err
	}
	h.expect(waiting.name)
	if err = h.move(c, waiting, to.NS, to.Name, to.Alias); err != nil {
		h.unexpect(waiting.name)
	}
	return err
}

// PartPair takes an end of a pair out of a namespace.
func (h *Host) PartPair(ctx context.Context, l kernel.Link) error {
	h.pairs.Lock()
	defer h.pairs.Unlock()
	return h.with(ctx, func(c *conn) error {
		p, err := c.pair(l)
		switch {
		case err != nil || p.end == nil:
			return err
		case p.alone():
			return h.remove(c, l.Name)
		case p.waiting != nil || l.Name == "":
			return h.removeIn(c, p.ns, p.end)
		}
		err = netns.Do(l.Peer.NS, func() error {
			in, err := dial()
			if err != nil {
				return err
			}
			defer in.close()
			in.wrote, in.looks = c.wrote, c.looks
			return h.move(in, p.end, h.home, l.Name, l.Alias)
		})
		if err != nil {
			return err
		}
		return h.quiet(c, l)
	})
}

// pair looks for the ends of l's pair.
func (c *conn) pair(l kernel.Link) (p pair, err error) {
	if l.Name != "" {
		if p.waiting, err = c.link(l.Name); err != nil {
			return p, err
		}
	}
	if p.waiting != nil {
		if err := admit(p.waiting, l, aim{}); err != nil {
			return p, err
		}
	}
	if p.ns, err = c.nsid(l.Peer.NS); err != nil || p.ns < 0 {
		return p, err
	}
	var b batch
	b.message("list links", unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	b.u32(unix.IFLA_TARGET_NETNSID, uint32(p.ns))
	b.u32(unix.IFLA_EXT_MASK, rtextSkipStats)
	err = c.dump(&b, func() { p.end = nil }, func(m wire.Message) {
		i := readInfo(m.Data)
		if i.kind != "veth" {
			return
		}
		// One that is born is not marked before it is dressed; one whose move
		// was cut short has the mark of what waits.
		born := pair{p.waiting, &i, p.ns}.alone() && i.alias == ""
		if i.alias == l.Peer.Alias || i.alias == l.Alias || born {
			p.end = &i
		}
	})
	return p, err
}

// resize gives the end that waits, if one does, its MTU.
func (h *Host) resize(c *conn, waiting *info, mtu int) error {
	if waiting == nil || mtu == 0 || mtu == waiting.mtu {
		return nil
	}
	var b batch
	b.message("set link "+waiting.name, unix.RTM_NEWLINK, 0, ifinfo(waiting.index, 0, 0))
	b.u32(unix.IFLA_MTU, uint32(mtu))
	return h.change(c, &b)
}

// move takes a link of c's namespace to another one, where it is down, and
// called and marked anew.
func (h *Host) move(c *conn, i *info, to *kernel.Namespace, name, alias string) error {
	var b batch
	b.message("move link "+i.name, unix.RTM_NEWLINK, 0, ifinfo(i.index, 0, 0))
	b.u32(unix.IFLA_NET_NS_FD, uint32(to.File.Fd()))
	b.str(unix.IFLA_IFNAME, name)
	b.attr(unix.IFLA_IFALIAS, []byte(alias))
	return h.change(c, &b)
}

// removeIn removes a link of the namespace that c's knows by that number.
func (h *Host) removeIn(c *conn, ns int, i *info) error {
	var b batch
	b.message("remove link "+i.name, unix.RTM_DELLINK, 0, ifinfo(i.index, 0, 0))
	b.u32(unix.IFLA_TARGET_NETNSID, uint32(ns))
	err := h.change(c, &b)
	if r, ok := errors.AsType[*refusal](err); ok && isAbsent(r.Errno) {
		return nil
	}
	return err
}

// change sends a batch of one message, and translates its refusal.
func (h *Host) change(c *conn, b *batch) error {
	refused, err := h.run(c, b)
	if err == nil && len(refused) > 0 {
		err = translate(refused[0])
	}
	return err
}
