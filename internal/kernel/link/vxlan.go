package link

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// vxlanPort is the kernel's choice, older than RFC 7348.
const vxlanPort = 8472

// Attributes of a vxlan link (linux/if_link.h).
const (
	vxlanID       = 1
	vxlanLink     = 3
	vxlanLocal    = 4
	vxlanLearning = 7
	vxlanPortAttr = 15
	vxlanLocal6   = 17
	vxlanGBP      = 23
)

// vxlan is a kernel.VXLAN as the kernel tells of it.
type vxlan struct {
	vni           uint32
	port          uint16
	local         netip.Addr
	under         int // index; 0 for none
	learning, gbp bool
}

// vxlanOf is what the link should be; nil for one of another kind.
func vxlanOf(c *conn, l kernel.Link) (*vxlan, error) {
	if l.VXLAN == nil {
		return nil, nil
	}
	v := &vxlan{vni: l.VXLAN.VNI, port: cmp.Or(l.VXLAN.Port, vxlanPort), local: l.VXLAN.Local, learning: l.VXLAN.Learning, gbp: l.VXLAN.GBP}
	if l.VXLAN.Under == "" {
		return v, nil
	}
	var err error
	if v.under, err = c.index(l.VXLAN.Under); err == nil && v.under == 0 {
		err = catenet.NotFoundf("there is no link %s for %s to go by", l.VXLAN.Under, l.Name)
	}
	return v, err
}

// attrs appends what the link is born with.
func (v *vxlan) attrs(b *batch) {
	data := b.nest(unix.IFLA_INFO_DATA | unix.NLA_F_NESTED)
	b.u32(vxlanID, v.vni)
	b.attr(vxlanPortAttr, binary.BigEndian.AppendUint16(nil, v.port))
	b.flag(vxlanLearning, v.learning)
	if v.under != 0 {
		b.u32(vxlanLink, uint32(v.under))
	}
	switch {
	case v.local.Is4():
		b.attr(vxlanLocal, v.local.AsSlice())
	case v.local.Is6():
		b.attr(vxlanLocal6, v.local.AsSlice())
	}
	if v.gbp {
		b.attr(vxlanGBP, nil)
	}
	b.end(data)
}

func readVXLAN(b []byte) *vxlan {
	v := &vxlan{}
	for kind, d := range wire.Attrs(b) {
		switch kind {
		case vxlanID:
			v.vni = number(d)
		case vxlanPortAttr:
			if len(d) == 2 {
				v.port = binary.BigEndian.Uint16(d)
			}
		case vxlanLocal, vxlanLocal6:
			v.local, _ = netip.AddrFromSlice(d)
		case vxlanLink:
			v.under = int(number(d))
		case vxlanLearning:
			v.learning = number(d) != 0
		case vxlanGBP:
			v.gbp = true
		}
	}
	return v
}
