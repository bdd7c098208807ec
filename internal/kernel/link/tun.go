package link

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// What a TUN device needs beside EnsureLink, since rtnetlink cannot make one.

// Admit returns a conflict if there is a link of that name that is not l: by
// its kind, or by its alias.
func (h *Host) Admit(ctx context.Context, l kernel.Link) error {
	return h.with(ctx, func(c *conn) error {
		cur, err := c.link(l.Name)
		if err != nil || cur == nil {
			return err
		}
		return admit(cur, l, aim{})
	})
}

// Mark gives a link that the caller has just made its alias.
func (h *Host) Mark(ctx context.Context, name, alias string) error {
	return h.with(ctx, func(c *conn) error {
		var b batch
		b.message("mark link "+name, unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0))
		b.str(unix.IFLA_IFNAME, name)
		b.attr(unix.IFLA_IFALIAS, []byte(alias))
		return h.change(c, &b)
	})
}

// AcceptOwn lets a link bring packets from the host's own addresses
// (accept_local of the kernel's ip-sysctl), as errors are that the program
// behind a TUN device reports.
func (h *Host) AcceptOwn(ctx context.Context, name string) error {
	return h.with(ctx, func(c *conn) error {
		var p plan
		if err := p.planSysctls(name, map[string]string{"net.ipv4.conf.IFNAME.accept_local": "1"}); err != nil {
			return err
		}
		return p.apply(h, c)
	})
}
