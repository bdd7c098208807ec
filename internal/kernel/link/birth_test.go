package link

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// TestFirstPacketArrives: once Dress has returned, the bridge forwards what
// the container sends. By itself the kernel sees to that in a moment of its
// own, and drops the frames until then.
func TestFirstPacketArrives(t *testing.T) {
	t.Parallel()
	host := kerneltest.New(t)
	h := openIn(t, host, func(context.Context, kernel.Outfit) error { return nil })
	if err := h.EnsureLink(t.Context(), bridgeLink()); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 20; i++ {
		ns := at(t, kerneltest.New(t).Path)
		l := vethLink(i, ns, "eth0")
		if err := h.EnsureLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if err := h.Dress(t.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{insideOf(i, "eth0")}}); err != nil {
			t.Fatal(err)
		}
		if state := portState(t, h, l.Name); state != forwarding {
			t.Fatalf("link %d: the port's state is %d, not forwarding", i, state)
		}
	}
}

const forwarding = 3 // BR_STATE_FORWARDING

// portState looks without touching: a list of links, unlike a look at one,
// does not have the kernel catch up with their carrier.
func portState(t *testing.T, h *Host, name string) (state byte) {
	t.Helper()
	err := h.with(t.Context(), func(c *conn) error {
		var b batch
		b.message("list links", unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
		return c.dump(&b, func() {}, func(m wire.Message) {
			if readInfo(m.Data).name != name {
				return
			}
			for kind, v := range wire.Attrs(m.Data[unix.SizeofIfInfomsg:]) {
				if kind != unix.IFLA_LINKINFO {
					continue
				}
				for kind, v := range wire.Attrs(v) {
					if kind != unix.IFLA_INFO_SLAVE_DATA {
						continue
					}
					for kind, v := range wire.Attrs(v) {
						if kind == unix.IFLA_BRPORT_STATE {
							state = v[0]
						}
					}
				}
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}
