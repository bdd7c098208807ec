package driver_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// span is what other hosts' subnets are of.
var span = []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}

const tunnel = "flannel.7"

// tunnelled is a kernel with a tunnel.
func tunnelled(t *testing.T) *fake.Kernel {
	k := fake.New()
	if err := k.EnsureLink(t.Context(), kernel.Link{Name: tunnel, Kind: "vxlan", Alias: kernel.Mark + "net", VXLAN: &kernel.VXLAN{VNI: 7}}); err != nil {
		t.Fatal(err)
	}
	return k
}

// peer is how host n is reached by the tunnel.
func peer(n byte) kernel.Reach {
	base := netip.AddrFrom4([4]byte{10, 5, n, 0})
	return kernel.Reach{Link: tunnel, Subnet: netip.PrefixFrom(base, 24), Via: base, OnLink: true,
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, n}, Remote: netip.AddrFrom4([4]byte{192, 0, 2, n})}
}

// neighbour is the same host on the wire.
func neighbour(n byte) kernel.Reach {
	return kernel.Reach{Link: "eth0", Subnet: peer(n).Subnet, Via: peer(n).Remote}
}

// leads holds what there is against what should be.
func leads(t *testing.T, k kernel.Host, when string, want ...kernel.Reach) {
	t.Helper()
	have, err := k.Reached(t.Context(), tunnel)
	if err != nil {
		t.Fatal(err)
	}
	text := func(all []kernel.Reach) (lines []string) {
		for _, r := range all {
			lines = append(lines, strings.Join([]string{r.Subnet.String(), r.Link, r.Via.String(), r.MAC.String(), r.Remote.String()}, " "))
		}
		return slices.Sorted(slices.Values(lines))
	}
	if got, want := text(have), text(want); !slices.Equal(got, want) {
		t.Errorf("%s: reached:\n%s\nwant:\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever there is, what is wanted comes of it; what is right is not written again,
// and what is of other networks stays.
func TestLead(t *testing.T) {
	k := tunnelled(t)
	other := kernel.Reach{Link: "eth0", Subnet: netip.MustParsePrefix("10.6.0.0/24"), Via: netip.MustParseAddr("192.0.2.6")}
	if err := k.Reach(t.Context(), []kernel.Reach{other}, nil); err != nil {
		t.Fatal(err)
	}
	moved := peer(3)
	moved.MAC, moved.Remote = net.HardwareAddr{2, 0, 0, 0, 9, 9}, netip.MustParseAddr("192.0.2.99")
	for _, step := range []struct {
		name   string
		want   []kernel.Reach
		writes uint64
	}{
		{"all are new", []kernel.Reach{peer(2), peer(3), neighbour(4)}, 3},
		{"nothing is new", []kernel.Reach{neighbour(4), peer(3), peer(2)}, 0},
		{"one has moved", []kernel.Reach{peer(2), moved, neighbour(4)}, 1},
		{"one came to the wire", []kernel.Reach{neighbour(2), moved, neighbour(4)}, 1},
		{"one is gone, one is new", []kernel.Reach{neighbour(2), moved, peer(5)}, 2},
		{"all are gone", nil, 3},
	} {
		before := k.Writes()
		if err := driver.Lead(t.Context(), k, span, step.want, tunnel); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := k.Writes() - before; got != step.writes {
			t.Errorf("%s: %d changes, want %d", step.name, got, step.writes)
		}
		leads(t, k, step.name, append(step.want, other)...)
	}
}

// What is refused keeps nothing else, and what is not known is taken for nothing.
func TestLeadFails(t *testing.T) {
	k := tunnelled(t)
	if err := driver.Lead(t.Context(), k, span, []kernel.Reach{peer(2)}, tunnel); err != nil {
		t.Fatal(err)
	}
	k.AddRoute(peer(3).Subnet) // somebody else's
	err := driver.Lead(t.Context(), k, span, []kernel.Reach{peer(2), peer(3), peer(4)}, tunnel)
	if !catenet.IsConflict(err) {
		t.Errorf("%v, want a conflict", err)
	}
	leads(t, k, "beside a conflict", peer(2), peer(4))

	k.FailAt(1, errors.New("no answer"))
	if err := driver.Lead(t.Context(), k, span, nil, tunnel); err == nil {
		t.Error("what there is was not told, and taken for nothing")
	}
	k.FailAt(0, nil)
	leads(t, k, "not known", peer(2), peer(4))
}

// What is left of a neighbour without a route goes, of the span's alone.
func TestLeadOrphans(t *testing.T) {
	orphan, other := peer(2), peer(2)
	orphan.Subnet = netip.Prefix{}
	other.Subnet, other.Via = netip.Prefix{}, netip.MustParseAddr("10.6.0.0")
	h := &telling{Host: tunnelled(t), have: []kernel.Reach{orphan, other, peer(3)}}
	if err := driver.Lead(t.Context(), h, span, []kernel.Reach{peer(3)}, tunnel); err != nil {
		t.Fatal(err)
	}
	if len(h.added) > 0 || len(h.removed) != 1 || h.removed[0].Via != orphan.Via {
		t.Errorf("added %v, removed %v", h.added, h.removed)
	}
}

// telling is a kernel that says what is reached, and notes what should be.
type telling struct {
	kernel.Host
	have, added, removed []kernel.Reach
}

func (h *telling) Reached(context.Context, ...string) ([]kernel.Reach, error) {
	return slices.Clone(h.have), nil
}

func (h *telling) Reach(_ context.Context, add, remove []kernel.Reach) error {
	h.added, h.removed = add, remove
	return nil
}
