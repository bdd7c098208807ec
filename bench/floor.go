package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// floor is what the kernel asks for an attach, and nothing else: a veth born
// with its peer in the namespace, enslaved to a bridge; an address, up, a
// default route; the redirect of the resolver. No allocator, no record, no
// check, no name.
type floor struct {
	b      *Bench
	host   string
	rt     *netlinkSocket // of the host, opened once
	bridge uint32         // index
	index  *atomic.Int64  // of the last link on the host: the kernel takes the
	// peer's index only together with one for this side
}

func startFloor(ctx context.Context, b *Bench) (*floor, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	for _, cmd := range [][]string{
		{"ip", "link", "add", "name", "floor0", "type", "bridge"},
		{"ip", "addr", "add", "10.97.0.1/16", "dev", "floor0"},
		{"ip", "link", "set", "floor0", "up"},
	} {
		if _, err := b.tool(ctx, host, cmd...); err != nil {
			return nil, err
		}
	}
	f := &floor{b: b, host: host, index: new(atomic.Int64)}
	f.index.Store(innerIndex)
	err = b.in(host, func() error {
		bridge, err := net.InterfaceByName("floor0")
		if err == nil {
			f.bridge = uint32(bridge.Index)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.again()
}

// again is the same floor with a socket of its own, for one more that attaches
// at the same time.
func (f *floor) again() (*floor, error) {
	g := *f
	err := f.b.in(f.host, func() (err error) {
		g.rt, err = dial(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.b.close = append(f.b.close, g.rt.Close)
	return &g, nil
}

// attach does it for the namespace at path.
func (f *floor) attach(name string, path string, addr netip.Addr) error {
	ns, err := f.b.ns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := f.rt.Do(f.veth(name, int(f.index.Add(1)), ns)); err != nil {
		return err
	}
	return netns.Do(ns, func() error {
		if err := once(unix.NETLINK_ROUTE, inside(innerIndex, addr)); err != nil {
			return err
		}
		return once(unix.NETLINK_NETFILTER, redirect(40053))
	})
}

// innerIndex is the index that the peer is born with, so that nobody has to
// ask for it.
const innerIndex = 1000

const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL

// veth is the pair, at once complete on the host's side, with the one queue a
// direction that it needs.
func (f *floor) veth(name string, index int, ns *kernel.Namespace) request {
	e := nl.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	e.Uint32(unix.IFLA_MASTER, f.bridge)
	oneQueue(e)
	e.Nested(unix.IFLA_LINKINFO, func(info *nl.AttributeEncoder) error {
		info.String(unix.IFLA_INFO_KIND, "veth")
		info.Nested(unix.IFLA_INFO_DATA, func(data *nl.AttributeEncoder) error {
			peer := nl.NewAttributeEncoder()
			peer.String(unix.IFLA_IFNAME, "eth0")
			oneQueue(peer)
			peer.Uint32(unix.IFLA_NET_NS_FD, uint32(ns.File.Fd()))
			attrs, err := peer.Encode()
			data.Bytes(1, append(ifinfo(innerIndex, 0), attrs...)) // VETH_INFO_PEER
			return err
		})
		return nil
	})
	return request{kind: unix.RTM_NEWLINK, flags: create, body: append(ifinfo(index, unix.IFF_UP), encoded(e)...)}
}

func oneQueue(e *nl.AttributeEncoder) {
	e.Uint32(unix.IFLA_NUM_TX_QUEUES, 1)
	e.Uint32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// inside is the peer's address, the link raised, and the default route.
func inside(index int, addr netip.Addr) []request {
	a := nl.NewAttributeEncoder()
	a.Bytes(unix.IFA_LOCAL, addr.AsSlice())
	a.Bytes(unix.IFA_ADDRESS, addr.AsSlice())
	ifaddr := []byte{unix.AF_INET, 16, 0, 0}
	ifaddr = binary.NativeEndian.AppendUint32(ifaddr, uint32(index))

	r := nl.NewAttributeEncoder()
	r.Bytes(unix.RTA_GATEWAY, []byte{10, 97, 0, 1})
	r.Uint32(unix.RTA_OIF, uint32(index))
	rtmsg := []byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}

	return []request{
		{kind: unix.RTM_NEWADDR, flags: create, body: append(ifaddr, encoded(a)...)},
		{kind: unix.RTM_NEWLINK, body: ifinfo(index, unix.IFF_UP)},
		{kind: unix.RTM_NEWROUTE, flags: create, body: append(rtmsg, encoded(r)...)},
	}
}

func ifinfo(index int, up uint32) []byte {
	b := make([]byte, 0, unix.SizeofIfInfomsg)
	b = append(b, unix.AF_UNSPEC, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, up)
	return binary.NativeEndian.AppendUint32(b, up) // of the flags only this one changes
}

func encoded(e *nl.AttributeEncoder) []byte {
	b, err := e.Encode()
	if err != nil {
		panic(err) // the attributes above are constants of this program
	}
	return b
}

func (f *floor) attaching() Contender {
	return Contender{"kernel floor", func(ctx context.Context, round int) (float64, error) {
		ns, err := f.b.Place(ctx)
		if err != nil {
			return 0, err
		}
		name := fmt.Sprintf("f%d", f.b.made)
		took, err := timed(func() error { return f.attach(name, ns, netip.AddrFrom4([4]byte{10, 97, 1, byte(round)})) })
		if err != nil {
			return 0, err
		}
		_, err = f.b.tool(ctx, f.host, "ip", "link", "del", name)
		return took, errors.Join(err, f.b.Forget(ctx, ns))
	}}
}
