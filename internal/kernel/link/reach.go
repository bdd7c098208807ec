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
)

// reachBatch is how many peers go to the kernel in one call: their messages,
// three each, and the kernel's refusals of all of them, fit in a socket's buffer.
const reachBatch = 64

// ndaProtocol is NDA_PROTOCOL: who made a neighbour, by the numbers of routes.
const ndaProtocol = 12

// Reach leads to add, then takes away what only remove has. What it is made of
// comes in the order in which it can be used: whom the next hop is, where
// frames for it go, and then the route; and goes the other way round.
func (h *Host) Reach(ctx context.Context, add, remove []kernel.Reach) error {
	return h.with(ctx, func(c *conn) error {
		if c.looks {
			return c.lookReach(add)
		}
		o := crossing{h: h, c: c, links: map[string]int{}}
		var taken []kernel.Reach
		for _, d := range o.each(add, o.lead) {
			if d.Errno == unix.EEXIST { // of a route: all else replaces what is there
				taken = append(taken, d.peer)
			} else {
				o.fail(d)
			}
		}
		o.takeOver(taken)
		for _, d := range o.each(leftover(add, remove), o.leave) {
			if !isAbsent(d.Errno) {
				o.fail(d)
			}
		}
		return errors.Join(o.errs...)
	})
}

// crossing is one Reach.
type crossing struct {
	h     *Host
	c     *conn
	links map[string]int // name → index, 0 for none, of those asked for
	batch batch
	of    []int // message → which peer of the batch it is about
	errs  []error
}

// denial is a refusal of what a peer needs.
type denial struct {
	peer kernel.Reach
	*refusal
}

func (o *crossing) fail(d denial) {
	o.errs = append(o.errs, fmt.Errorf("reach %s by %s: %w", d.peer.Subnet, d.peer.Link, translate(d.refusal)))
}

// each sends what write writes about peers, some at a time. One that fails keeps
// no other.
func (o *crossing) each(peers []kernel.Reach, write func(kernel.Reach) error) (denied []denial) {
	for some := range slices.Chunk(peers, reachBatch) {
		o.batch.reset()
		o.of = o.of[:0]
		for i, r := range some {
			if err := write(r); err != nil {
				o.errs = append(o.errs, err)
			}
			for len(o.of) < len(o.batch.whats) {
				o.of = append(o.of, i)
			}
		}
		refused, err := o.h.run(o.c, &o.batch)
		if err != nil {
			o.errs = append(o.errs, err)
		}
		for _, r := range refused {
			denied = append(denied, denial{some[o.of[r.index]], r})
		}
	}
	return denied
}

// index returns the index of a link, 0 if there is none, asking once.
func (o *crossing) index(name string) (int, error) {
	index, ok := o.links[name]
	if ok {
		return index, nil
	}
	index, err := o.c.index(name)
	if err == nil {
		o.links[name] = index
	}
	return index, err
}

// lead writes what leads to a peer.
func (o *crossing) lead(r kernel.Reach) error {
	index, err := o.index(r.Link)
	if err == nil && index == 0 {
		err = catenet.NotFoundf("there is no link %s to reach %s by", r.Link, r.Subnet)
	}
	if err != nil {
		return err
	}
	if r.MAC != nil {
		o.neighbour("set neighbour", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, r)
		o.forward("set forwarding", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, r)
	}
	o.route("add route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, r)
	return nil
}

// takeOver settles routes to whose subnets there is one already.
func (o *crossing) takeOver(taken []kernel.Reach) {
	if len(taken) == 0 {
		return
	}
	have, err := o.c.routes(unix.RT_TABLE_MAIN)
	if err != nil {
		o.errs = append(o.errs, err)
		return
	}
	theirs := map[kernel.Route][]route{} // by destination and metric
	ours := map[route]bool{}
	for _, r := range have {
		if r.protocol == kernel.RouteProtocol {
			ours[r] = true
		} else {
			at := kernel.Route{Dst: r.Dst, Metric: r.Metric}
			theirs[at] = append(theirs[at], r)
		}
	}
	for _, d := range o.each(taken, func(r kernel.Reach) error {
		index, err := o.index(r.Link)
		w := normal(kernel.Route{Dst: r.Subnet, Gateway: r.Via})
		switch {
		case err != nil:
			return err
		case ours[route{w, index, kernel.RouteProtocol}]:
			return nil
		case slices.ContainsFunc(theirs[kernel.Route{Dst: w.Dst, Metric: w.Metric}], func(x route) bool {
			return x.index != index || r.MAC == nil && x.Gateway != w.Gateway
		}):
			return catenet.Conflictf("this host has a route to %s already, and it is not ours", w.Dst).
				WithHint("see it with: ip route show %s", w.Dst)
		}
		o.route("replace route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, r)
		return nil
	}) {
		o.fail(d)
	}
}

// leftover is what there is of remove beside what add is made of too: of what
// stays, Subnet, Via or Remote is zero.
func leftover(add, remove []kernel.Reach) []kernel.Reach {
	if len(remove) == 0 {
		return nil
	}
	type hop struct {
		link string
		via  netip.Addr
	}
	type station struct{ link, mac string }
	subnets, hops, hosts := map[netip.Prefix]bool{}, map[hop]bool{}, map[station]bool{}
	for _, r := range add {
		subnets[r.Subnet] = true
		if r.MAC != nil {
			hops[hop{r.Link, r.Via}], hosts[station{r.Link, string(r.MAC)}] = true, true
		}
	}
	var left []kernel.Reach
	for _, r := range remove {
		if subnets[r.Subnet] {
			r.Subnet = netip.Prefix{}
		}
		if r.MAC != nil && hops[hop{r.Link, r.Via}] {
			r.Via = netip.Addr{}
		}
		if r.MAC != nil && hosts[station{r.Link, string(r.MAC)}] {
			r.Remote = netip.Addr{}
		}
		left = append(left, r)
	}
	return left
}

// leave writes what takes away what is there of a leftover.
func (o *crossing) leave(r kernel.Reach) error {
	index, err := o.index(r.Link)
	if err != nil || index == 0 { // all went with the link
		return err
	}
	if r.Subnet.IsValid() {
		gone := r
		gone.Via = netip.Addr{} // it may be another by now: the route is ours at any rate
		o.route("remove route", unix.RTM_DELROUTE, 0, index, gone)
	}
	if r.MAC != nil && r.Remote.IsValid() {
		o.forward("remove forwarding", unix.RTM_DELNEIGH, 0, index, r)
	}
	if r.MAC != nil && r.Via.IsValid() {
		o.neighbour("remove neighbour", unix.RTM_DELNEIGH, 0, index, r)
	}
	return nil
}

// route writes a message about a route in the main table. No gateway of one that
// is removed means any.
func (o *crossing) route(what string, kind, flags uint16, index int, r kernel.Reach) {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	switch {
	case kind == unix.RTM_DELROUTE:
		scope = unix.RT_SCOPE_NOWHERE // any
	case !r.Via.IsValid():
		scope = unix.RT_SCOPE_LINK
	}
	body := [unix.SizeofRtMsg]byte{family(r.Subnet.Addr()), byte(r.Subnet.Bits()), 0, 0, unix.RT_TABLE_MAIN,
		kernel.RouteProtocol, scope, unix.RTN_UNICAST}
	if r.OnLink && r.Via.IsValid() {
		native.PutUint32(body[8:], unix.RTNH_F_ONLINK)
	}
	o.batch.message(what, kind, flags, body[:])
	routeAttrs(&o.batch, route{kernel.Route{Dst: r.Subnet, Gateway: r.Via}, index, kernel.RouteProtocol})
}

// neighbour writes a message about whom the next hop is.
func (o *crossing) neighbour(what string, kind, flags uint16, index int, r kernel.Reach) {
	body := ndmsg(family(r.Via), index, unix.NUD_PERMANENT, 0)
	o.batch.message(what, kind, flags, body[:])
	o.batch.addr(unix.NDA_DST, r.Via)
	if kind == unix.RTM_NEWNEIGH {
		o.batch.attr(unix.NDA_LLADDR, r.MAC)
		o.batch.attr(ndaProtocol, []byte{kernel.RouteProtocol})
	}
}

// forward writes a message about where frames for the next hop go.
func (o *crossing) forward(what string, kind, flags uint16, index int, r kernel.Reach) {
	body := ndmsg(unix.AF_BRIDGE, index, unix.NUD_PERMANENT|unix.NUD_NOARP, unix.NTF_SELF)
	o.batch.message(what, kind, flags, body[:])
	o.batch.attr(unix.NDA_LLADDR, r.MAC)
	if kind == unix.RTM_NEWNEIGH {
		o.batch.addr(unix.NDA_DST, r.Remote)
	}
}

// ndmsgLen is the length of a struct ndmsg (rtnetlink(7)).
const ndmsgLen = 12

func ndmsg(family byte, index int, state uint16, flags byte) (body [ndmsgLen]byte) {
	body[0], body[10], body[11] = family, flags, unix.RTN_UNICAST
	native.PutUint32(body[4:], uint32(index))
	native.PutUint16(body[8:], state)
	return body
}
