package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// EnsureLink makes the link exist as described. One that is new and one that
// differs go the same way, save that a veth is born complete.
func (h *Host) EnsureLink(ctx context.Context, l kernel.Link) error {
	return h.with(ctx, func(c *conn) error {
		want, err := aimOf(c, l)
		if err != nil {
			return err
		}
		l.MTU = want.mtu
		index, err := c.index(l.Name)
		if err != nil {
			return err
		}
		if index == 0 {
			return h.create(c, l, want)
		}
		cur, err := c.link(l.Name)
		if err != nil {
			return err
		}
		if cur == nil { // gone since
			return h.create(c, l, want)
		}
		if err := admit(cur, l, want); err != nil {
			return err
		}
		stale, err := h.stale(c, cur, l, want)
		if err != nil {
			return err
		}
		if stale {
			if err := h.remove(c, l.Name); err != nil {
				return err
			}
			return h.create(c, l, want)
		}
		if l.Peer != nil && l.Peer.NS != nil {
			h.delivered(birth{l.Peer.NS.Inode, l.Peer.Name}) // its attach failed, long ago
		}
		if err := h.repair(c, cur, want); err != nil {
			return err
		}
		return h.shape(c, l)
	})
}

// aimOf says what the link should be, once it is there.
func aimOf(c *conn, l kernel.Link) (aim, error) {
	want := aim{name: l.Name, alias: l.Alias, mtu: l.MTU, mac: l.MAC, addrs: l.Addrs,
		noIPv6: l.NoIPv6, noLinkLocal: !hasIPv6(l.Addrs)}
	var err error
	if want.vxlan, err = vxlanOf(c, l); err != nil || l.Master == "" {
		return want, err
	}
	master, err := c.index(l.Master)
	if err != nil {
		return want, err
	}
	if master == 0 {
		return want, catenet.NotFoundf("there is no link %s for %s to be a port of", l.Master, l.Name)
	}
	want.master, want.port = master, &port{l.Isolated, l.Hairpin}
	if l.Isolated {
		want.gate = l.Master
	}
	if l.MTU == 0 {
		want.mtu, err = c.mtu(l.Master)
	}
	return want, err
}

// admit refuses a link that was made by somebody else or for something else.
func admit(cur *info, l kernel.Link, want aim) error {
	if cur.kind == l.Kind && (cur.alias == l.Alias || cur.cut() || cur.left(want)) {
		return nil
	}
	if cur.ours() {
		return catenet.Conflictf("the interface %s is that of another network or container here", l.Name).WithHint("choose another name")
	}
	kind := cur.kind
	if kind == "" {
		kind = "network"
	}
	return catenet.Conflictf("there is a %s interface %s already, and it is not ours", kind, l.Name).
		WithHint("choose another name, or remove it: ip link del %s", l.Name)
}

// left tells whether somebody has left the very vxlan that is wanted.
func (i *info) left(want aim) bool {
	return i.alias == "" && i.vxlan != nil && want.vxlan != nil && *i.vxlan == *want.vxlan && bytes.Equal(i.mac, want.mac)
}

// stale tells whether a veth leads elsewhere than it should, or a vxlan is
// another, which only making it again mends.
func (h *Host) stale(c *conn, cur *info, l kernel.Link, want aim) (bool, error) {
	if want.vxlan != nil {
		return cur.vxlan == nil || *want.vxlan != *cur.vxlan, nil
	}
	if l.Peer == nil {
		return false, nil
	}
	if l.Peer.NS == nil { // parked: whoever took the peer may have it
		return false, nil
	}
	id, err := c.nsid(l.Peer.NS)
	if err != nil {
		return false, err
	}
	if id < 0 || id != cur.peerNS {
		return true, nil
	}
	peer, err := c.linkIn(id, cur.peer)
	return peer == nil || peer.name != l.Peer.Name, err
}

// repair writes what differs.
func (h *Host) repair(c *conn, cur *info, want aim) error {
	cur, err := h.widen(c, cur, want.mtu)
	if err != nil {
		return err
	}
	have, err := c.addresses(cur.index)
	if err != nil {
		return err
	}
	var p plan
	if err := p.settle(cur, have, want); err != nil {
		return err
	}
	if err := p.connect(c, cur, have, want.addrs); err != nil {
		return err
	}
	if err := p.apply(h, c); err != nil || want.gate == "" && !cur.isolated {
		return err
	}
	if err := h.settleGateward(c, cur.index, want.gate); err != nil {
		return errors.Join(err, p.revert(h, c))
	}
	return nil
}

// create makes a link that does not exist, and unmakes it on failure.
func (h *Host) create(c *conn, l kernel.Link, want aim) error {
	var b batch
	newLink(&b, l, want)
	// What a birth cannot bring, its mark above all: without that nobody would
	// know whose it is if we died here.
	b.message("dress link "+l.Name, unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0))
	b.str(unix.IFLA_IFNAME, l.Name)
	b.attr(unix.IFLA_IFALIAS, []byte(l.Alias))
	born := l.Kind == "veth" && len(l.Addrs) == 0
	if born {
		h.bornAttrs(&b, l, want)
	}
	refused, err := h.run(c, &b)
	if err != nil {
		return err
	}
	if len(refused) > 0 && refused[0].index == 0 {
		if refused[0].Errno == unix.EEXIST && l.Peer != nil {
			return catenet.Conflictf("there is an interface %s already where %s leads", l.Peer.Name, l.Name).
				WithHint("choose another interface name for this endpoint")
		}
		return translate(refused[0])
	}
	switch {
	case len(refused) > 0:
		err = translate(refused[0])
	case born:
		if !want.down { // else its outside may be elsewhere by the time it is dressed
			h.deliver(l)
		}
		err = h.quiet(c, l)
		if err == nil && want.gate != "" {
			err = h.addGateward(c, l.Name, want.gate)
		}
	default:
		var cur *info
		if cur, err = c.link(l.Name); err == nil && cur == nil {
			err = fmt.Errorf("make link %s: it is gone again", l.Name)
		}
		if err == nil {
			err = h.repair(c, cur, want)
		}
	}
	if err == nil {
		err = h.shape(c, l)
	}
	if err != nil {
		return errors.Join(err, h.remove(c, l.Name))
	}
	return nil
}

// bornAttrs appends what else a veth is from its birth on. Nothing can have
// arrived meanwhile: the peer is still down.
func (h *Host) bornAttrs(b *batch, l kernel.Link, want aim) {
	if h.six && (l.MTU == 0 || l.MTU >= minMTU6) {
		addrGenAttr(b, addrGenNone)
	}
	if want.port != nil {
		portAttr(b, *want.port)
	}
}

// quiet sets the sysctls of a link that is new.
func (h *Host) quiet(c *conn, l kernel.Link) error {
	var p plan
	if err := p.planSysctls(l.Name, wantSysctls(l.NoIPv6, false, nil)); err != nil {
		return err
	}
	return p.apply(h, c)
}

// newLink appends the message by which a link is born.
func newLink(b *batch, l kernel.Link, want aim) {
	var up uint32
	if l.Kind == "veth" && !want.down {
		up = unix.IFF_UP
	}
	b.message("make link "+l.Name, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, up, up))
	b.str(unix.IFLA_IFNAME, l.Name)
	if l.MAC != nil {
		b.attr(unix.IFLA_ADDRESS, l.MAC)
	}
	if want.master != 0 {
		b.u32(unix.IFLA_MASTER, uint32(want.master))
	}
	if l.Kind == "veth" {
		oneQueue(b)
	}
	// The MTU of a bridge sticks only if it is set afterwards: until then it
	// follows that of its ports.
	if l.MTU != 0 && l.Kind != "bridge" {
		b.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	kind := b.nest(unix.IFLA_LINKINFO | unix.NLA_F_NESTED)
	b.str(unix.IFLA_INFO_KIND, l.Kind)
	if want.vxlan != nil {
		want.vxlan.attrs(b)
	}
	if l.Peer != nil {
		data := b.nest(unix.IFLA_INFO_DATA | unix.NLA_F_NESTED)
		peer := b.nest(vethInfoPeer | unix.NLA_F_NESTED)
		b.buf = append(b.buf, ifinfo(0, 0, 0)...)
		b.str(unix.IFLA_IFNAME, l.Peer.Name)
		oneQueue(b)
		if l.Peer.MAC != nil {
			b.attr(unix.IFLA_ADDRESS, l.Peer.MAC)
		}
		if l.MTU != 0 {
			b.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
		if l.Peer.NS != nil {
			b.u32(unix.IFLA_NET_NS_FD, uint32(l.Peer.NS.File.Fd()))
		}
		b.end(peer)
		b.end(data)
	}
	b.end(kind)
}

// oneQueue asks for one queue a direction. A veth is born with as many as the
// machine may have CPUs, each an object in sysfs, which on two CPUs makes a
// sixth of its birth. They serve XDP and GRO alone: other frames go to the
// backlog of the CPU that sends.
func oneQueue(b *batch) {
	b.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	b.u32(unix.IFLA_NUM_RX_QUEUES, 1)
}
