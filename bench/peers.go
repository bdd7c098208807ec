package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/link"
)

// peersKnown: all that leads to a thousand other hosts by a vxlan (a neighbour, a
// forwarding entry and a route each), from the moment on at which they are known;
// against the same messages made before, in the rows that the kernel likes best.
func peersKnown(ctx context.Context, b *Bench) ([]Line, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	mine, err := peersByUs(b, host)
	if err != nil {
		return nil, err
	}
	theirs, err := peersByHand(b, host)
	if err != nil {
		return nil, err
	}
	s, err := interleave(ctx, b.Rounds(25), mine, theirs)
	if err != nil {
		return nil, err
	}
	return []Line{{Work: "1000 peers known → all programmed", Ours: ms(s.Median(0)), Peer: "messages made before " + ms(s.Median(1)),
		Ratio: s.Ratio(0, 1), Goal: 1.2, AtMost: true}}, nil
}

// spanned is what the peers are of.
var spanned = netip.MustParsePrefix("10.16.0.0/12")

const vtep = "flannel.1"

// thousand are the peers.
func thousand() (all []kernel.Reach) {
	for i := range 1000 {
		hi, lo := byte(i>>8), byte(i)
		base := netip.AddrFrom4([4]byte{10, 16 + hi, lo, 0})
		all = append(all, kernel.Reach{Link: vtep, Subnet: netip.PrefixFrom(base, 24), Via: base, OnLink: true,
			MAC: net.HardwareAddr{2, 0, 0, 1, hi, lo}, Remote: netip.AddrFrom4([4]byte{198, 18, hi, lo})})
	}
	return all
}

// freshly makes the device anew, without any peer, and returns its index.
func freshly(ctx context.Context, b *Bench, host string) (index int, err error) {
	_, _ = b.tool(ctx, host, "ip", "link", "del", vtep) // there is none the first time
	err = b.steps(ctx,
		step{host, "ip link add " + vtep + " type vxlan id 1 dstport 8472 nolearning"},
		step{host, "ip link set " + vtep + " up"})
	if err != nil {
		return 0, err
	}
	err = b.in(host, func() error {
		l, err := net.InterfaceByName(vtep)
		if err == nil {
			index = l.Index
		}
		return err
	})
	return index, err
}

func peersByUs(b *Bench, host string) (Contender, error) {
	var h *link.Host
	err := b.in(host, func() (err error) { h, err = link.Open(nil, nil); return err })
	if err != nil {
		return Contender{}, err
	}
	b.close = append(b.close, h.Close)
	all := thousand()
	return Contender{"catenet", func(ctx context.Context, _ int) (float64, error) {
		if _, err := freshly(ctx, b, host); err != nil {
			return 0, err
		}
		return timed(func() error { return driver.Lead(ctx, h, []netip.Prefix{spanned}, all, vtep) })
	}}, nil
}

// peersAtOnce is how many peers' messages the kernel is given in one call: fewer
// take longer, and more do not take less.
const peersAtOnce = 64

func peersByHand(b *Bench, host string) (Contender, error) {
	var s *netlinkSocket
	err := b.in(host, func() (err error) { s, err = dial(unix.NETLINK_ROUTE); return err })
	if err != nil {
		return Contender{}, err
	}
	b.close = append(b.close, s.Close)
	all := thousand()
	return Contender{"by hand", func(ctx context.Context, _ int) (float64, error) {
		index, err := freshly(ctx, b, host)
		if err != nil {
			return 0, err
		}
		var rows [][]byte
		for some := range slices.Chunk(all, peersAtOnce) {
			var rs []request
			for _, r := range some {
				rs = append(rs, peerRequests(index, r)...)
			}
			rs[len(rs)-1].quiet = false // the last one's answer tells that all are done
			row, _ := pack(rs...)
			rows = append(rows, row)
		}
		return timed(func() error {
			var errs []error
			for _, row := range rows {
				errs = append(errs, s.send(row, 1))
			}
			return errors.Join(errs...)
		})
	}}, nil
}

// peerRequests are the three messages about a peer.
func peerRequests(index int, r kernel.Reach) []request {
	neigh := func(family byte, state uint16, flags byte) []byte {
		body := binary.NativeEndian.AppendUint32([]byte{family, 0, 0, 0}, uint32(index))
		return append(binary.NativeEndian.AppendUint16(body, state), flags, unix.RTN_UNICAST)
	}
	with := func(body []byte, attrs func(e *nl.AttributeEncoder)) []byte {
		e := nl.NewAttributeEncoder()
		attrs(e)
		return append(body, encoded(e)...)
	}
	const replace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	rtmsg := []byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, kernel.RouteProtocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST}
	return []request{
		{kind: unix.RTM_NEWNEIGH, flags: replace, quiet: true, body: with(neigh(unix.AF_INET, unix.NUD_PERMANENT, 0), func(e *nl.AttributeEncoder) {
			e.Bytes(unix.NDA_DST, r.Via.AsSlice())
			e.Bytes(unix.NDA_LLADDR, r.MAC)
		})},
		{kind: unix.RTM_NEWNEIGH, flags: replace, quiet: true, body: with(neigh(unix.AF_BRIDGE, unix.NUD_PERMANENT|unix.NUD_NOARP, unix.NTF_SELF), func(e *nl.AttributeEncoder) {
			e.Bytes(unix.NDA_LLADDR, r.MAC)
			e.Bytes(unix.NDA_DST, r.Remote.AsSlice())
		})},
		{kind: unix.RTM_NEWROUTE, flags: create, quiet: true, body: with(binary.NativeEndian.AppendUint32(rtmsg, unix.RTNH_F_ONLINK), func(e *nl.AttributeEncoder) {
			e.Bytes(unix.RTA_DST, r.Subnet.Addr().AsSlice())
			e.Bytes(unix.RTA_GATEWAY, r.Via.AsSlice())
			e.Uint32(unix.RTA_OIF, uint32(index))
		})},
	}
}
