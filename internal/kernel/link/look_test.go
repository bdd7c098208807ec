package link

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Who only looks is told what is not as it should be, and changes nothing; what
// is right is no error.
func TestLooking(t *testing.T) {
	a, ifb, veth := newShaped(t, false)
	ctx := kernel.Looking(t.Context())
	look := func() error {
		for _, l := range []kernel.Link{bridgeLink(), ifb, veth} {
			if err := a.h.EnsureLink(ctx, l); err != nil {
				return err
			}
		}
		return a.h.Dress(ctx, a.ns, kernel.Outfit{Interfaces: a.outfit().Interfaces})
	}
	if err := look(); err != nil {
		t.Fatal(err)
	}
	for _, harm := range []struct{ command, word string }{
		{"tc qdisc del dev " + veth.Name + " root", "tbf"},
		{"ip addr flush dev br0", "add address"},
		{"echo 1 >/proc/sys/net/ipv6/conf/" + veth.Name + "/accept_ra", "accept_ra"},
		{"ip link del " + veth.Name, "make link"},
	} {
		a.host.Run("sh", "-c", harm.command)
		before := a.h.Writes()
		for range 2 {
			if err := look(); !catenet.IsConflict(err) || !strings.Contains(err.Error(), harm.word) {
				t.Errorf("after %s: %v, want a conflict that tells of %s", harm.command, err, harm.word)
			}
		}
		if n := a.h.Writes() - before; n != 0 {
			t.Errorf("after %s: %d changes", harm.command, n)
		}
		if !strings.HasPrefix(harm.command, "ip link del") {
			a.shape(bridgeLink(), ifb, veth)
		}
	}
}
