package flows

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Messages and attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	subsystem  = 1 // NFNL_SUBSYS_CTNETLINK
	typeGet    = subsystem<<8 | 1
	typeDelete = subsystem<<8 | 2

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2

	// CTA_FILTER_F_…: which parts of a tuple are looked at.
	filterIPSrc   = 1 << 0
	filterIPDst   = 1 << 1
	filterProto   = 1 << 3
	filterSrcPort = 1 << 4
	filterDstPort = 1 << 5
)

// headerLen is the length of struct nfgenmsg: family, version, resource.
const headerLen = 4

// connection is what we need to know of a tracked connection.
type connection struct {
	orig, reply tuple
	key         []byte // body of the request that deletes it
}

// tuple is one direction of a connection. Protocols without ports have port 0.
type tuple struct {
	proto    uint8
	src, dst netip.AddrPort
}

func header(family uint8) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }

// encodeList asks for the connections of a listing.
func encodeList(l listing) ([]byte, error) {
	family, flags := uint8(unix.AF_INET), uint32(filterIPSrc)
	if !l.from.IsValid() {
		family, flags = unix.AF_INET6, filterProto|filterSrcPort
		if l.port == 0 {
			return header(family), nil
		}
	}
	e := netlink.NewAttributeEncoder()
	e.Nested(ctaTupleReply, part(l.from, netip.Addr{}, l.proto, ctaProtoSrcPort, l.port))
	e.Nested(ctaFilter, func(e *netlink.AttributeEncoder) error {
		e.Uint32(ctaFilterReplyFlags, flags)
		return nil
	})
	b, err := e.Encode()
	return append(header(family), b...), err
}

// encodeFlush asks for the end of the connections of an IPv4 flow: those to its
// host port that are answered from where it leads.
func encodeFlush(f kernel.Flow) ([]byte, error) {
	proto, orig := catenet.Proto(f.Proto).Number(), uint32(filterProto|filterDstPort)
	var src, dst netip.Addr
	if f.From.IsValid() {
		src, orig = f.From, orig|filterIPSrc
	}
	if !f.IP.IsUnspecified() {
		dst, orig = f.IP, orig|filterIPDst
	}
	e := netlink.NewAttributeEncoder()
	e.Nested(ctaTupleOrig, part(src, dst, proto, ctaProtoDstPort, f.Port))
	e.Nested(ctaTupleReply, part(f.To.Addr(), netip.Addr{}, proto, ctaProtoSrcPort, f.To.Port()))
	e.Nested(ctaFilter, func(e *netlink.AttributeEncoder) error {
		e.Uint32(ctaFilterOrigFlags, orig)
		e.Uint32(ctaFilterReplyFlags, filterIPSrc|filterProto|filterSrcPort)
		return nil
	})
	b, err := e.Encode()
	return append(header(unix.AF_INET), b...), err
}

// part encodes what is known of a tuple: IPv4 addresses that are valid, and one
// port.
func part(src, dst netip.Addr, proto uint8, kind, port uint16) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		if src.IsValid() || dst.IsValid() {
			e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
				if src.IsValid() {
					e.Bytes(ctaIPv4Src, src.AsSlice())
				}
				if dst.IsValid() {
					e.Bytes(ctaIPv4Dst, dst.AsSlice())
				}
				return nil
			})
		}
		e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaProtoNum, proto)
			e.Bytes(kind, binary.BigEndian.AppendUint16(nil, port))
			return nil
		})
		return nil
	}
}

// decode reads a listed connection. Its tuple, ID and zone are kept as they
// are, to delete it by.
func decode(b []byte) (c connection, err error) {
	if len(b) < headerLen {
		return c, fmt.Errorf("%d bytes are too few", len(b))
	}
	d, err := netlink.NewAttributeDecoder(b[headerLen:])
	if err != nil {
		return c, err
	}
	key := netlink.NewAttributeEncoder()
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			key.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, d.Bytes())
			d.Nested(c.orig.decode)
		case ctaTupleReply:
			d.Nested(c.reply.decode)
		case ctaID, ctaZone:
			key.Bytes(d.Type(), d.Bytes())
		}
	}
	if err := d.Err(); err != nil {
		return c, err
	}
	body, err := key.Encode()
	c.key = append(header(b[0]), body...)
	return c, err
}

// decode reads a tuple's attributes.
func (t *tuple) decode(d *netlink.AttributeDecoder) error {
	var src, dst netip.Addr
	var srcPort, dstPort uint16
	for d.Next() {
		switch d.Type() {
		case ctaTupleIP:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					a, _ := netip.AddrFromSlice(d.Bytes())
					switch d.Type() {
					case ctaIPv4Src, ctaIPv6Src:
						src = a
					case ctaIPv4Dst, ctaIPv6Dst:
						dst = a
					}
				}
				return nil
			})
		case ctaTupleProto:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				d.ByteOrder = binary.BigEndian
				for d.Next() {
					switch d.Type() {
					case ctaProtoNum:
						t.proto = d.Uint8()
					case ctaProtoSrcPort:
						srcPort = d.Uint16()
					case ctaProtoDstPort:
						dstPort = d.Uint16()
					}
				}
				return nil
			})
		}
	}
	t.src, t.dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return nil
}
