package link

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// etherMTU is what a link carries when nothing else is known.
const etherMTU = 1500

// Links returns the links that carry our mark, with the addresses we gave
// them. Peer is not told, nor NoIPv6, how it is shaped and what
// else it is of its kind.
func (h *Host) Links(ctx context.Context) (found []kernel.Link, err error) {
	err = h.with(ctx, func(c *conn) error {
		all, err := c.links()
		if err != nil {
			return err
		}
		addrs, err := c.addresses(0)
		if err != nil {
			return err
		}
		names := map[int]string{}
		for _, i := range all {
			names[i.index] = i.name
		}
		for _, i := range all {
			if !i.ours() {
				continue
			}
			l := i.link()
			l.Master, l.Isolated, l.Hairpin = names[i.master], i.isolated, i.hairpin
			for _, a := range addrs {
				if a.index == i.index && a.ours {
					l.Addrs = append(l.Addrs, a.prefix)
				}
			}
			found = append(found, l)
		}
		return nil
	})
	return found, err
}

func (i *info) link() kernel.Link {
	return kernel.Link{Name: i.name, Kind: i.kind, Alias: i.alias, MTU: i.mtu, MAC: i.mac}
}

// Link asks for one, whosever it is.
func (h *Host) Link(ctx context.Context, name string) (l kernel.Link, err error) {
	err = h.with(ctx, func(c *conn) error {
		i, err := c.link(name)
		if err != nil {
			return err
		}
		if i == nil {
			return catenet.NotFoundf("this host has no link %s", name).WithHint("see those that it has with: ip link")
		}
		l = i.link()
		if v := i.vxlan; v != nil {
			l.VXLAN = &kernel.VXLAN{VNI: v.vni, Port: v.port, Local: v.local, Learning: v.learning, GBP: v.gbp}
			if v.under != 0 {
				l.VXLAN.Under, err = c.name(v.under)
			}
		}
		return err
	})
	return l, err
}

// Routes returns where the host can reach without its default route.
func (h *Host) Routes(ctx context.Context) (found []netip.Prefix, err error) {
	err = h.with(ctx, func(c *conn) error {
		routes, err := c.routes(unix.RT_TABLE_UNSPEC)
		if err != nil {
			return err
		}
		addrs, err := c.addresses(0)
		if err != nil {
			return err
		}
		for _, r := range routes {
			found = append(found, r.Dst)
		}
		for _, a := range addrs {
			found = append(found, a.prefix)
		}
		return nil
	})
	// Link-local subnets are on every link, and on no network of ours.
	found = slices.DeleteFunc(found, func(p netip.Prefix) bool {
		return p.Bits() == 0 || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
	})
	slices.SortFunc(found, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return slices.Compact(found), err
}

// DefaultLink returns the link of the default route that the kernel prefers.
func (h *Host) DefaultLink(ctx context.Context) (name string, mtu int, err error) {
	mtu = etherMTU
	err = h.with(ctx, func(c *conn) error {
		routes, err := c.routes(unix.RT_TABLE_MAIN)
		if err != nil {
			return err
		}
		// IPv4 comes first, and of each family what the kernel prefers.
		best := slices.IndexFunc(routes, func(r route) bool { return r.Dst.Bits() == 0 && r.index != 0 })
		if best < 0 {
			return nil
		}
		all, err := c.links()
		for _, i := range all {
			if i.index == routes[best].index {
				name, mtu = i.name, i.mtu
			}
		}
		return err
	})
	return name, mtu, err
}
