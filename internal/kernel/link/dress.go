package link

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// Dress gives the namespace what o says, in one visit: it looks at what is
// there, writes the difference in one batch, and has the resolver's redirect
// set last.
func (h *Host) Dress(ctx context.Context, ns *kernel.Namespace, o kernel.Outfit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(o.Interfaces) > 0 { // without a link nothing can be heard of it
		if err := h.with(ctx, func(c *conn) error { return h.remember(c, ns) }); err != nil {
			return err
		}
	}
	var fresh []string
	err := netns.Do(ns, func() error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.close()
		c.wrote, c.looks = kernel.Writes(ctx), kernel.Looks(ctx)
		fresh, err = h.dress(ctx, c, ns.Inode, o)
		return err
	})
	if err != nil || len(fresh) == 0 {
		return err
	}
	return h.with(ctx, func(c *conn) error { return h.catchUp(c, fresh) })
}

// dress works on a thread inside the namespace. It returns the outsides of
// links that were just born.
func (h *Host) dress(ctx context.Context, c *conn, ns uint64, o kernel.Outfit) ([]string, error) {
	p, err := h.putOn(c, ns, o.Interfaces)
	if err != nil {
		return nil, err
	}
	if err := c.syncPairs(p.raised); err != nil {
		return nil, errors.Join(err, p.revert(h, c))
	}
	if o.ResolverPort == 0 && !o.NoResolver {
		return p.born, nil
	}
	if h.redirect == nil {
		return nil, errors.Join(errors.New("redirect the resolver: this host was opened without the means"), p.revert(h, c))
	}
	if err := h.redirect(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("redirect the resolver: %w", err), p.revert(h, c))
	}
	return p.born, nil
}

// raiseLoopback plans lo to be up.
func (p *plan) raiseLoopback(c *conn) error {
	ifr, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFFLAGS, ifr)
	}
	if err != nil {
		return fmt.Errorf("look at lo: %w", err)
	}
	if ifr.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	const lo = 1 // LOOPBACK_IFINDEX: in every namespace
	p.step(func(b *batch) { b.message("lower lo", unix.RTM_NEWLINK, 0, ifinfo(lo, 0, unix.IFF_UP)) },
		"raise lo", unix.RTM_NEWLINK, 0, ifinfo(lo, unix.IFF_UP, unix.IFF_UP))
	return nil
}

// putOn gives the namespace its interfaces. Those that were just born have
// nothing yet, so that what is there is only looked at once something turns
// out to be in the way.
func (h *Host) putOn(c *conn, ns uint64, interfaces []kernel.Interface) (*plan, error) {
	worn, fresh, err := h.findAll(c, ns, interfaces)
	if err != nil {
		return nil, err
	}
	var have belongings
	for {
		if !fresh {
			if have, err = c.belongings(); err != nil {
				return nil, err
			}
		}
		var p plan
		if err = p.raiseLoopback(c); err == nil {
			err = p.wear(worn, interfaces, have)
		}
		if err == nil {
			err = p.apply(h, c)
		}
		if err == nil || !fresh || !catenet.IsConflict(err) {
			return &p, err
		}
		fresh = false
	}
}

// belongings are the addresses and routes of a namespace.
type belongings struct {
	addrs  []address
	routes []route
}

func (c *conn) belongings() (b belongings, err error) {
	if b.addrs, err = c.addresses(0); err == nil {
		b.routes, err = c.routes(unix.RT_TABLE_MAIN)
	}
	return b, err
}

// findAll finds the links of the interfaces, and tells whether all of them
// are as they were born.
func (h *Host) findAll(c *conn, ns uint64, interfaces []kernel.Interface) (worn []*info, fresh bool, err error) {
	fresh = true
	for _, want := range interfaces {
		cur := h.delivered(birth{ns, want.Link})
		if cur != nil {
			cur.index, err = c.index(want.Link)
		}
		if err == nil && (cur == nil || cur.index == 0) {
			cur, err = find(c, want)
		}
		if err == nil {
			cur, err = h.widen(c, cur, want.MTU)
		}
		if err != nil {
			return nil, false, err
		}
		fresh = fresh && cur.alias == "" && !cur.up()
		worn = append(worn, cur)
	}
	return worn, fresh, nil
}

// wear plans the interfaces: all links and addresses, then the routes, those
// to add before those to remove, so that a default route that moves from one
// interface to another is there throughout.
func (p *plan) wear(worn []*info, interfaces []kernel.Interface, have belongings) error {
	for i, want := range interfaces {
		if err := p.settle(worn[i], have.addrs, aim{
			name: want.Name, alias: want.Alias, mtu: want.MTU, mac: want.MAC,
			master: worn[i].master, // the container may have made it a port of its own
			addrs:  want.Addrs, noIPv6: want.NoIPv6, sysctls: want.Sysctls,
		}); err != nil {
			return err
		}
	}
	for i, want := range interfaces {
		switch {
		case worn[i].outside != "":
			p.born = append(p.born, worn[i].outside)
		case !worn[i].up():
			p.raised = append(p.raised, worn[i].index)
		}
		if err := p.addRoutes(worn[i], want, have.routes); err != nil {
			return err
		}
	}
	for i, want := range interfaces {
		p.dropRoutes(worn[i], want, have.routes)
	}
	return nil
}

// find returns the link that is to be the interface: under its last name if
// it was dressed before, else under the one it came with.
func find(c *conn, want kernel.Interface) (*info, error) {
	cur, err := c.link(want.Name)
	if err != nil {
		return nil, err
	}
	if cur != nil && (cur.alias == want.Alias || cur.alias == "" && want.Link == want.Name) {
		return cur, nil
	}
	if cur != nil {
		return nil, catenet.Conflictf("the namespace has another interface %s already", want.Name).
			WithHint("choose another interface name for this endpoint")
	}
	if want.Link != want.Name {
		if cur, err = c.link(want.Link); err != nil || cur != nil {
			return cur, err
		}
	}
	return nil, catenet.NotFoundf("the namespace has no interface %s", want.Link)
}
