package link

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
	"github.com/catenet/catenet/test/bounds"
)

// FuzzRead: links, addresses and routes as no kernel would tell of them.
func FuzzRead(f *testing.F) {
	info := wire.Bytes(wire.String(ifinfo(3, unix.IFF_UP, 0), unix.IFLA_IFNAME, "eth0"), unix.IFLA_LINKINFO|unix.NLA_F_NESTED,
		wire.String(nil, unix.IFLA_INFO_KIND, "veth"))
	f.Add(info)
	addr := wire.Bytes(make([]byte, unix.SizeofIfAddrmsg), unix.IFA_LOCAL, []byte{192, 0, 2, 1})
	addr[1] = 24
	f.Add(addr)
	rt := wire.Bytes(make([]byte, unix.SizeofRtMsg), unix.RTA_DST, []byte{192, 0, 2, 0})
	rt[1], rt[7] = 24, unix.RTN_UNICAST
	f.Add(rt)
	f.Add(wire.Bytes(wire.String(make([]byte, tcBodyLen), unix.TCA_KIND, "tbf"), unix.TCA_OPTIONS, wire.Bytes(nil, tbfParms, make([]byte, tbfLen))))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounds.Parse(t, len(b), func() {
			i := readInfo(b)
			if len(i.name)+len(i.alias)+len(i.mac) > 3*len(b) {
				t.Errorf("%+v", i)
			}
			if a, ok := readAddress(b); ok && !a.prefix.IsValid() {
				t.Errorf("%+v", a)
			}
			if k := readBucket(b); k.rate > 1<<32 && len(b) < tcBodyLen+tbfLen {
				t.Errorf("%+v", k)
			}
			if to := readThrough(b); to < 0 || to != 0 && len(b) < mirredLen {
				t.Errorf("to %d", to)
			}
			if r, ok := readRoute(b, unix.RT_TABLE_UNSPEC); ok && !r.Dst.IsValid() {
				t.Errorf("%+v", r)
			}
		})
	})
}
