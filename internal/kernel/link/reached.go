package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// Reached asks the kernel for routes of ours only: there may be a million.
func (h *Host) Reached(ctx context.Context, links ...string) (found []kernel.Reach, err error) {
	err = h.with(ctx, func(c *conn) error {
		found, err = c.reached(links)
		return err
	})
	return found, err
}

// lookReach tells of the first that is not reached as it should be.
func (c *conn) lookReach(want []kernel.Reach) error {
	var links []string
	for _, r := range want {
		if r.MAC != nil && !slices.Contains(links, r.Link) {
			links = append(links, r.Link)
		}
	}
	have, err := c.reached(links)
	if err != nil {
		return err
	}
	found := make(map[netip.Prefix]kernel.Reach, len(have))
	for _, r := range have {
		found[r.Subnet] = r
	}
	for _, w := range want {
		if !reflect.DeepEqual(found[w.Subnet], w) {
			return catenet.Conflictf("it is not as it should be: left to do is to reach %s by %s", w.Subnet, w.Link)
		}
	}
	return nil
}

func (c *conn) reached(links []string) (found []kernel.Reach, err error) {
	tunnels := map[int]*tunnel{}
	for _, name := range links {
		index, err := c.index(name)
		if err == nil && index != 0 {
			tunnels[index], err = c.tunnel(name, index)
		}
		if err != nil {
			return nil, err
		}
	}
	routes, err := c.reachRoutes()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, r := range routes {
		if names[r.index] == "" {
			if names[r.index], err = c.name(r.index); err != nil {
				return nil, err
			}
		}
		to := kernel.Reach{Link: names[r.index], Subnet: r.Dst, Via: r.Gateway, OnLink: r.onLink}
		if t := tunnels[r.index]; t != nil {
			to.MAC = t.hops[r.Gateway]
			to.Remote = t.hosts[to.MAC.String()]
			t.used[r.Gateway] = true
		}
		found = append(found, to)
	}
	for _, t := range tunnels {
		for via, mac := range t.hops {
			if !t.used[via] {
				found = append(found, kernel.Reach{Link: t.link, Via: via, MAC: mac, Remote: t.hosts[mac.String()]})
			}
		}
	}
	return found, nil
}

// reachRoute is a route, and whether its gateway is on the link anyhow.
type reachRoute struct {
	route
	onLink bool
}

// reachRoutes returns the routes of ours.
func (c *conn) reachRoutes() (all []reachRoute, err error) {
	err = eachFamily(func(family byte) error {
		before := len(all)
		return c.dumpRoutes(family, unix.RT_TABLE_MAIN, kernel.RouteProtocol, func() { all = all[:before] }, func(m wire.Message) {
			if r, ok := readRoute(m.Data, unix.RT_TABLE_MAIN); ok && r.protocol == kernel.RouteProtocol { // older kernels send all
				all = append(all, reachRoute{r, native.Uint32(m.Data[8:])&unix.RTNH_F_ONLINK != 0})
			}
		})
	})
	return all, err
}

// tunnel is what leads through one link that carries Ethernet frames.
type tunnel struct {
	link  string
	hops  map[netip.Addr]net.HardwareAddr // who next hops are
	hosts map[string]netip.Addr           // MAC → where frames for it go
	used  map[netip.Addr]bool             // hops that a route leads to
}

func (c *conn) tunnel(name string, index int) (*tunnel, error) {
	t := &tunnel{name, map[netip.Addr]net.HardwareAddr{}, map[string]netip.Addr{}, map[netip.Addr]bool{}}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
		all, err := c.neighbours(family, index)
		if err != nil {
			return nil, err
		}
		for _, n := range all {
			switch {
			case family == unix.AF_BRIDGE && n.mac != nil && n.dst.IsValid():
				t.hosts[n.mac.String()] = n.dst
			case n.protocol == kernel.RouteProtocol && n.mac != nil:
				t.hops[n.dst] = n.mac
			}
		}
	}
	return t, nil
}

// neighbour is whom an address on a link is, or of a forwarding database, where
// frames go.
type neighbour struct {
	dst      netip.Addr
	mac      net.HardwareAddr
	protocol uint8
}

// neighbours are those of one link.
func (c *conn) neighbours(family byte, index int) (all []neighbour, err error) {
	var b batch
	body := make([]byte, ndmsgLen)
	body[0] = family
	if family == unix.AF_BRIDGE {
		native.PutUint32(body[4:], uint32(index))
	}
	b.message("list neighbours", unix.RTM_GETNEIGH, 0, body)
	if family != unix.AF_BRIDGE {
		b.u32(unix.NDA_IFINDEX, uint32(index))
	}
	err = c.dump(&b, func() { all = nil }, func(m wire.Message) {
		if n, ok := readNeighbour(m.Data, index); ok {
			all = append(all, n)
		}
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) { // no IPv6; the link went
		return nil, nil
	}
	return all, err
}

// readNeighbour reads a permanent one of that link.
func readNeighbour(body []byte, index int) (n neighbour, ok bool) {
	if len(body) < ndmsgLen || int(native.Uint32(body[4:])) != index || native.Uint16(body[8:])&unix.NUD_PERMANENT == 0 {
		return n, false
	}
	for kind, v := range wire.Attrs(body[ndmsgLen:]) {
		switch kind {
		case unix.NDA_DST:
			n.dst, _ = netip.AddrFromSlice(v)
		case unix.NDA_LLADDR:
			n.mac = append(net.HardwareAddr{}, v...)
		case ndaProtocol:
			n.protocol = uint8(number(v))
		}
	}
	return n, true
}
