package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// info is a link as the kernel tells of it.
type info struct {
	index         int
	flags, change uint32 // IFF_*
	name, alias   string
	kind, slave   string // rtnl link kinds; slave is that of its port
	mtu           int
	mac           net.HardwareAddr
	master        int // index, 0 for none
	peer          int // index of what it is linked to (IFLA_LINK), 0 for none
	peerNS        int // nsid of peer, -1 for the same namespace
	isolated      bool
	hairpin       bool
	addrGen       uint8
	six           bool   // it has IPv6
	vxlan         *vxlan // of that kind
	outside       string // of a veth's inside that was just born: its name on the host
}

// ours tells whether the link carries our mark.
func (i *info) ours() bool { return strings.HasPrefix(i.alias, kernel.Mark) }

func (i *info) up() bool { return i.flags&unix.IFF_UP != 0 }

func readInfo(body []byte) info {
	i := info{peerNS: -1}
	if len(body) < unix.SizeofIfInfomsg {
		return i
	}
	i.index = int(native.Uint32(body[4:]))
	i.flags, i.change = native.Uint32(body[8:]), native.Uint32(body[12:])
	for kind, v := range wire.Attrs(body[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			i.name = wire.Text(v)
		case unix.IFLA_IFALIAS:
			i.alias = wire.Text(v)
		case unix.IFLA_MTU:
			i.mtu = int(number(v))
		case unix.IFLA_ADDRESS:
			i.mac = append(net.HardwareAddr{}, v...)
		case unix.IFLA_MASTER:
			i.master = int(number(v))
		case unix.IFLA_LINK:
			i.peer = int(number(v))
		case unix.IFLA_LINK_NETNSID:
			i.peerNS = int(int32(number(v)))
		case unix.IFLA_LINKINFO:
			i.readKind(v)
		case unix.IFLA_AF_SPEC:
			i.readFamilies(v)
		}
	}
	return i
}

func (i *info) readKind(b []byte) {
	for kind, v := range wire.Attrs(b) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			i.kind = wire.Text(v)
		case unix.IFLA_INFO_DATA: // behind the kind
			if i.kind == "vxlan" {
				i.vxlan = readVXLAN(v)
			}
		case unix.IFLA_INFO_SLAVE_KIND:
			i.slave = wire.Text(v)
		case unix.IFLA_INFO_SLAVE_DATA:
			for kind, v := range wire.Attrs(v) {
				switch kind {
				case unix.IFLA_BRPORT_ISOLATED:
					i.isolated = number(v) != 0
				case unix.IFLA_BRPORT_MODE:
					i.hairpin = number(v) != 0
				}
			}
		}
	}
}

func (i *info) readFamilies(b []byte) {
	for family, v := range wire.Attrs(b) {
		if family != unix.AF_INET6 {
			continue
		}
		i.six = true
		for kind, v := range wire.Attrs(v) {
			if kind == unix.IFLA_INET6_ADDR_GEN_MODE {
				i.addrGen = uint8(number(v))
			}
		}
	}
}

// ifinfo is the fixed header of a message about a link.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg)
	b = native.AppendUint32(b, uint32(index))
	b = native.AppendUint32(b, flags)
	return native.AppendUint32(b, change)
}

// link returns the link of that name, or nil.
func (c *conn) link(name string) (*info, error) {
	var b batch
	b.message("look at link "+name, unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	b.str(unix.IFLA_IFNAME, name)
	return c.oneLink(&b)
}

// linkIn returns the link of that index in the namespace that this one knows
// as nsid, or nil.
func (c *conn) linkIn(nsid, index int) (*info, error) {
	var b batch
	b.message("look at peer", unix.RTM_GETLINK, 0, ifinfo(index, 0, 0))
	b.u32(unix.IFLA_TARGET_NETNSID, uint32(nsid))
	return c.oneLink(&b)
}

func (c *conn) oneLink(b *batch) (*info, error) {
	b.u32(unix.IFLA_EXT_MASK, rtextSkipStats)
	var found info
	err := c.query(b, func(m wire.Message) { found = readInfo(m.Data) })
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// links returns all links.
func (c *conn) links() (all []info, err error) {
	var b batch
	b.message("list links", unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	b.u32(unix.IFLA_EXT_MASK, rtextSkipStats)
	err = c.dump(&b, func() { all = nil }, func(m wire.Message) { all = append(all, readInfo(m.Data)) })
	return all, err
}

// nsid returns by what number this namespace knows another, -1 for none.
func (c *conn) nsid(ns *kernel.Namespace) (int, error) {
	var b batch
	b.message("number namespace", unix.RTM_GETNSID, 0, make([]byte, 4)) // rtgenmsg, padded
	b.u32(unix.NETNSA_FD, uint32(ns.File.Fd()))
	id := -1
	err := c.query(&b, func(m wire.Message) {
		if len(m.Data) < 4 {
			return
		}
		for kind, v := range wire.Attrs(m.Data[4:]) {
			if kind == unix.NETNSA_NSID {
				id = int(int32(number(v)))
			}
		}
	})
	return id, err
}

// index returns the index of the link of that name, or 0. An ioctl works on
// any socket and takes a tenth of a netlink request.
func (c *conn) index(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("look up link %q: %w", name, err)
	}
	err = unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, ifr)
	if err == unix.ENODEV {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up link %s: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}

// name returns the name of the link of that index.
func (c *conn) name(index int) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(uint32(index))
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, ifr)
	}
	if err != nil {
		return "", fmt.Errorf("look up link %d: %w", index, err)
	}
	return ifr.Name(), nil
}

// mtu returns the MTU of the link of that name, in bytes.
func (c *conn) mtu(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFMTU, ifr)
	}
	if err != nil {
		return 0, fmt.Errorf("read MTU of link %s: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}

// address is one address of one link.
type address struct {
	index  int
	prefix netip.Prefix // not masked
	ours   bool         // we set it
}

// addresses returns those of the link of that index, of all links if it is 0.
func (c *conn) addresses(index int) (all []address, err error) {
	var b batch
	body := native.AppendUint32(make([]byte, 4, unix.SizeofIfAddrmsg), uint32(index))
	b.message("list addresses", unix.RTM_GETADDR, 0, body)
	err = c.dump(&b, func() { all = nil }, func(m wire.Message) {
		if a, ok := readAddress(m.Data); ok {
			all = append(all, a)
		}
	})
	if errors.Is(err, unix.ENODEV) { // the link went
		return nil, nil
	}
	return all, err
}

func readAddress(body []byte) (address, bool) {
	if len(body) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	a := address{index: int(native.Uint32(body[4:]))}
	var local, far netip.Addr
	for kind, v := range wire.Attrs(body[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS: // of the peer, or for IPv6 often the only one
			far, _ = netip.AddrFromSlice(v)
		case ifaProto:
			a.ours = number(v) == kernel.RouteProtocol
		}
	}
	if !local.IsValid() {
		local = far
	}
	a.prefix = netip.PrefixFrom(local, int(body[1]))
	return a, a.prefix.IsValid()
}

// route is one route that says where packets go.
type route struct {
	kernel.Route
	index    int // of the link it leaves by; 0 where it leaves by none
	protocol uint8
}

// routes returns those of a table, or of all (RT_TABLE_UNSPEC), of both
// families.
func (c *conn) routes(table uint8) (all []route, err error) {
	err = eachFamily(func(family byte) error {
		before := len(all)
		return c.dumpRoutes(family, table, unix.RTPROT_UNSPEC, func() { all = all[:before] }, func(m wire.Message) {
			if r, ok := readRoute(m.Data, table); ok {
				all = append(all, r)
			}
		})
	})
	return all, err
}

// dumpRoutes lists one family of a table, of one protocol or of any
// (RTPROT_UNSPEC).
func (c *conn) dumpRoutes(family, table, protocol uint8, reset func(), take func(wire.Message)) error {
	var b batch
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5] = family, table, protocol
	b.message("list routes", unix.RTM_GETROUTE, 0, body)
	return c.dump(&b, reset, take)
}

// eachFamily asks for both. A kernel without IPv6 answers EOPNOTSUPP; ENOENT: the
// table is empty.
func eachFamily(ask func(family byte) error) error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if err := ask(family); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

func readRoute(body []byte, from uint8) (route, bool) {
	if len(body) < unix.SizeofRtMsg {
		return route{}, false
	}
	switch body[7] {
	case unix.RTN_UNICAST, unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
	default: // local, broadcast, anycast, multicast: the kernel's own
		return route{}, false
	}
	r := route{protocol: body[5]}
	dst := netip.IPv4Unspecified()
	if body[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	table := uint32(body[4])
	for kind, v := range wire.Attrs(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.index = int(number(v))
		case unix.RTA_PRIORITY:
			r.Metric = int(number(v))
		case unix.RTA_TABLE:
			table = number(v)
		case unix.RTA_MULTIPATH: // the first hop stands for the route
			if len(v) >= unix.SizeofRtNexthop {
				r.index = int(native.Uint32(v[4:]))
			}
		}
	}
	if body[7] != unix.RTN_UNICAST {
		r.index = 0
	}
	r.Dst = netip.PrefixFrom(dst, int(body[1]))
	return r, r.Dst.IsValid() && (from == unix.RT_TABLE_UNSPEC || table == uint32(from)) // older kernels send all
}
