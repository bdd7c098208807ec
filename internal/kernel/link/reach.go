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
// and the kernel's refusals of all of them, fit in a socket's buffer.
const reachBatch = 256

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
		var errs []error
		links := map[string]int{}
		for some := range slices.Chunk(add, reachBatch) {
			errs = append(errs, h.lead(c, links, some))
		}
		for some := range slices.Chunk(leftover(add, remove), reachBatch) {
			errs = append(errs, h.leave(c, links, some))
		}
		return errors.Join(errs...)
	})
}

// lead writes what leads to add.
func (h *Host) lead(c *conn, links map[string]int, add []kernel.Reach) error {
	var b batch
	var errs []error
	routes := map[int]route{} // by message: whose place may be taken
	for _, r := range add {
		index, err := c.indexOnce(links, r.Link)
		if err == nil && index == 0 {
			err = catenet.NotFoundf("there is no link %s to reach %s by", r.Link, r.Subnet)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r.MAC != nil {
			neighbourMessage(&b, unix.RTM_NEWNEIGH, index, r)
			forwardMessage(&b, unix.RTM_NEWNEIGH, index, r)
		}
		to := route{kernel.Route{Dst: r.Subnet, Gateway: r.Via}, index, kernel.RouteProtocol}
		routes[len(b.whats)] = to
		reachMessage(&b, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, to, r.OnLink)
	}
	refused, err := h.run(c, &b)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	var taken []route
	for _, r := range refused {
		if to, ok := routes[r.index]; ok && r.Errno == unix.EEXIST {
			taken = append(taken, to)
		} else {
			errs = append(errs, translate(r))
		}
	}
	return errors.Join(append(errs, h.takeOver(c, taken, add))...)
}

// takeOver settles routes to whose subnets there is one already.
func (h *Host) takeOver(c *conn, taken []route, add []kernel.Reach) error {
	if len(taken) == 0 {
		return nil
	}
	have, err := c.routes(unix.RT_TABLE_MAIN)
	if err != nil {
		return err
	}
	var b batch
	var errs []error
	for _, w := range taken {
		w.Route = normal(w.Route)
		if slices.Contains(have, w) {
			continue
		}
		theirs := func(r route) bool {
			return r.Dst == w.Dst && r.Metric == w.Metric && r.protocol != kernel.RouteProtocol
		}
		if slices.ContainsFunc(have, theirs) {
			errs = append(errs, catenet.Conflictf("this host has a route to %s already, and it is not ours", w.Dst).
				WithHint("see it with: ip route show %s", w.Dst))
			continue
		}
		onLink := slices.ContainsFunc(add, func(r kernel.Reach) bool { return r.Subnet == w.Dst && r.OnLink })
		reachMessage(&b, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, w, onLink)
	}
	refused, err := h.run(c, &b)
	for _, r := range refused {
		errs = append(errs, translate(r))
	}
	return errors.Join(append(errs, err)...)
}

// leftover is what there is of remove beside what add is made of too: parts
// that stay have no link, or no MAC.
func leftover(add, remove []kernel.Reach) []kernel.Reach {
	type hop struct {
		link, via string
	}
	subnets, hops, hosts := map[netip.Prefix]bool{}, map[hop]bool{}, map[hop]bool{}
	for _, r := range add {
		subnets[r.Subnet] = true
		if r.MAC != nil {
			hops[hop{r.Link, r.Via.String()}], hosts[hop{r.Link, r.MAC.String()}] = true, true
		}
	}
	var left []kernel.Reach
	for _, r := range remove {
		if subnets[r.Subnet] {
			r.Subnet = netip.Prefix{}
		}
		if r.MAC != nil && hops[hop{r.Link, r.Via.String()}] {
			r.Via = netip.Addr{}
		}
		if r.MAC != nil && hosts[hop{r.Link, r.MAC.String()}] {
			r.Remote = netip.Addr{}
		}
		left = append(left, r)
	}
	return left
}

// leave takes away what is there of gone, a leftover.
func (h *Host) leave(c *conn, links map[string]int, gone []kernel.Reach) error {
	var b batch
	for _, r := range gone {
		index, err := c.indexOnce(links, r.Link)
		if err != nil {
			return err
		}
		if index == 0 {
			continue // all went with the link
		}
		if r.Subnet.IsValid() {
			// The gateway may be another by now: it is ours at any rate.
			reachMessage(&b, unix.RTM_DELROUTE, 0, route{kernel.Route{Dst: r.Subnet}, index, kernel.RouteProtocol}, false)
		}
		if r.MAC != nil && r.Remote.IsValid() {
			forwardMessage(&b, unix.RTM_DELNEIGH, index, r)
		}
		if r.MAC != nil && r.Via.IsValid() {
			neighbourMessage(&b, unix.RTM_DELNEIGH, index, r)
		}
	}
	refused, err := h.run(c, &b)
	errs := []error{err}
	for _, r := range refused {
		if !isAbsent(r.Errno) {
			errs = append(errs, translate(r))
		}
	}
	return errors.Join(errs...)
}

// indexOnce returns the index of a link, 0 if there is none, asking once.
func (c *conn) indexOnce(known map[string]int, name string) (int, error) {
	index, ok := known[name]
	if ok {
		return index, nil
	}
	index, err := c.index(name)
	if err == nil {
		known[name] = index
	}
	return index, err
}

// reachMessage appends a message about a route in the main table. A zero
// gateway of one that is removed means any.
func reachMessage(b *batch, kind, flags uint16, r route, onLink bool) {
	what := "add route to " + r.Dst.String()
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	switch {
	case kind == unix.RTM_DELROUTE:
		what, scope = "remove route to "+r.Dst.String(), unix.RT_SCOPE_NOWHERE // any
	case !r.Gateway.IsValid():
		scope = unix.RT_SCOPE_LINK
	}
	var hop uint32
	if onLink {
		hop = unix.RTNH_F_ONLINK
	}
	body := []byte{family(r.Dst.Addr()), byte(r.Dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, r.protocol, scope, unix.RTN_UNICAST}
	b.message(what, kind, flags, native.AppendUint32(body, hop))
	routeAttrs(b, r)
}

// neighbourMessage appends a message about whom the next hop is.
func neighbourMessage(b *batch, kind uint16, index int, r kernel.Reach) {
	entry(b, kind, fmt.Sprintf("neighbour %s on %s", r.Via, r.Link), ndmsg(family(r.Via), index, unix.NUD_PERMANENT, 0))
	b.attr(unix.NDA_DST, r.Via.AsSlice())
	if kind == unix.RTM_NEWNEIGH {
		b.attr(unix.NDA_LLADDR, r.MAC)
		b.attr(ndaProtocol, []byte{kernel.RouteProtocol})
	}
}

// forwardMessage appends a message about where frames for the next hop go.
func forwardMessage(b *batch, kind uint16, index int, r kernel.Reach) {
	entry(b, kind, fmt.Sprintf("forwarding of %s on %s", r.MAC, r.Link),
		ndmsg(unix.AF_BRIDGE, index, unix.NUD_PERMANENT|unix.NUD_NOARP, unix.NTF_SELF))
	b.attr(unix.NDA_LLADDR, r.MAC)
	if kind == unix.RTM_NEWNEIGH {
		b.attr(unix.NDA_DST, r.Remote.AsSlice())
	}
}

// entry begins a message about a neighbour.
func entry(b *batch, kind uint16, about string, body []byte) {
	if kind == unix.RTM_DELNEIGH {
		b.message("remove "+about, kind, 0, body)
		return
	}
	b.message("set "+about, kind, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

// ndmsgLen is the length of a struct ndmsg (rtnetlink(7)).
const ndmsgLen = 12

func ndmsg(family byte, index int, state uint16, flags byte) []byte {
	body := native.AppendUint32([]byte{family, 0, 0, 0}, uint32(index))
	return append(native.AppendUint16(body, state), flags, unix.RTN_UNICAST)
}
