package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// passing are addresses that go soon (IFA_F_*), or do not serve yet. Of IPv6 it is
// also those made for privacy, by the bit that of IPv4 says "secondary".
const passing = unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// Underlay asks for one link and its addresses.
func (h *Host) Underlay(ctx context.Context, which string) (u kernel.Underlay, err error) {
	if which == "" {
		if which, _, err = h.DefaultLink(ctx); err != nil {
			return u, err
		}
		if which == "" {
			return u, catenet.NotFoundf("this host has no default route, so no link to other hosts is known").WithHint("name the link")
		}
	}
	err = h.with(ctx, func(c *conn) error {
		all, err := c.globals()
		if err != nil {
			return err
		}
		var index int
		if a, bad := netip.ParseAddr(which); bad == nil {
			i := slices.IndexFunc(all, func(x address) bool { return x.prefix.Addr() == a })
			if i < 0 {
				return catenet.NotFoundf("no link of this host has the address %s", a)
			}
			index = all[i].index
		} else if index, err = c.index(which); err != nil {
			return err
		}
		if index == 0 {
			return catenet.NotFoundf("this host has no link %s", which).WithHint("see those that it has with: ip link")
		}
		return c.underlay(&u, index, all)
	})
	return u, err
}

func (c *conn) underlay(u *kernel.Underlay, index int, addrs []address) (err error) {
	if u.Link, err = c.name(index); err != nil {
		return err
	}
	if u.MTU, err = c.mtu(u.Link); err != nil {
		return err
	}
	for _, a := range addrs {
		switch {
		case a.index != index:
		case a.prefix.Addr().Is4():
			u.IPv4 = append(u.IPv4, a.prefix.Addr())
		default:
			u.IPv6 = append(u.IPv6, a.prefix.Addr())
		}
	}
	return nil
}

// globals returns the addresses by which others can know this host.
func (c *conn) globals() (all []address, err error) {
	var b batch
	b.message("list addresses", unix.RTM_GETADDR, 0, make([]byte, unix.SizeofIfAddrmsg))
	err = c.dump(&b, func() { all = nil }, func(m wire.Message) {
		a, ok := readAddress(m.Data)
		if !ok || m.Data[3] != unix.RT_SCOPE_UNIVERSE {
			return
		}
		flags := addrFlags(m.Data)
		if flags&passing == 0 && (a.prefix.Addr().Is4() || flags&unix.IFA_F_TEMPORARY == 0) {
			all = append(all, a)
		}
	})
	return all, err
}

// addrFlags are the flags of an address; the header has room for eight.
func addrFlags(body []byte) uint32 {
	flags := uint32(body[2])
	for kind, v := range wire.Attrs(body[unix.SizeofIfAddrmsg:]) {
		if kind == unix.IFA_FLAGS {
			flags = number(v)
		}
	}
	return flags
}

// Direct asks for the route to each.
func (h *Host) Direct(ctx context.Context, hosts ...netip.Addr) (map[netip.Addr]string, error) {
	direct := make(map[netip.Addr]string)
	err := h.with(ctx, func(c *conn) error {
		names := map[int]string{}
		for _, a := range hosts {
			index, err := c.onLink(a)
			if err == nil && index != 0 && names[index] == "" {
				names[index], err = c.name(index)
			}
			if err != nil {
				return err
			}
			if index != 0 {
				direct[a] = names[index]
			}
		}
		return nil
	})
	return direct, err
}

// Runs looks through all processes.
func (h *Host) Runs(_ context.Context, program string) (int, error) {
	here, err := h.home.File.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at own namespace: %w", err)
	}
	return proc.Find(program, here)
}

// onLink returns the index of the link that a host is on; 0 for none.
func (c *conn) onLink(a netip.Addr) (index int, err error) {
	var b batch
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[1] = family(a), byte(a.BitLen())
	b.message("find route to "+a.String(), unix.RTM_GETROUTE, 0, body)
	b.attr(unix.RTA_DST, a.AsSlice())
	err = c.query(&b, func(m wire.Message) { index = onLink(m.Data) })
	if _, refused := errors.AsType[*refusal](err); refused { // there is no route
		return 0, nil
	}
	return index, err
}

// onLink returns the index of the link of a route that leads to a host on it.
func onLink(body []byte) (index int) {
	if len(body) < unix.SizeofRtMsg || body[7] != unix.RTN_UNICAST {
		return 0
	}
	for kind, v := range wire.Attrs(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH:
			return 0
		case unix.RTA_OIF:
			index = int(number(v))
		}
	}
	return index
}
