package link

import (
	"sync/atomic"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
)

// TestWritesAreCountedForWhoAsked has each method write, and find all right,
// beside somebody else who writes.
func TestWritesAreCountedForWhoAsked(t *testing.T) {
	a := newAttached(t)
	veth := vethLink(2, a.ns, "eth1")
	veth.Master, veth.MTU = "br1", 1400
	for what, do := range map[string]func(*atomic.Uint64) error{
		"make": func(n *atomic.Uint64) error {
			if err := a.h.EnsureLink(kernel.CountWrites(t.Context(), n), dualBridge()); err != nil {
				return err
			}
			return a.h.EnsureLink(kernel.CountWrites(t.Context(), n), veth)
		},
		"dress": func(n *atomic.Uint64) error {
			if err := a.h.EnsureLink(t.Context(), dualBridge()); err != nil {
				return err
			}
			if err := a.h.EnsureLink(t.Context(), veth); err != nil {
				return err
			}
			return a.h.Dress(kernel.CountWrites(t.Context(), n), a.ns, kernel.Outfit{Interfaces: []kernel.Interface{dualInside()}})
		},
	} {
		if err := a.h.DeleteLinks(t.Context(), veth.Name, "br1"); err != nil {
			t.Fatal(err)
		}
		for pass, want := range []bool{true, false} {
			var mine atomic.Uint64
			if err := do(&mine); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if wrote := mine.Load() > 0; wrote != want {
				t.Errorf("%s, pass %d: %d changes are counted", what, pass, mine.Load())
			}
		}
	}
	var mine atomic.Uint64
	counting := kernel.CountWrites(t.Context(), &mine)
	before := a.h.Writes()
	if err := a.h.DeleteLinks(counting, veth.Name, "br1"); err != nil || mine.Load() == 0 || mine.Load() != a.h.Writes()-before {
		t.Errorf("%v, %d of %d changes are counted", err, mine.Load(), a.h.Writes()-before)
	}
	mine.Store(0)
	if err := a.h.EnsureLink(t.Context(), dualBridge()); err != nil || mine.Load() != 0 {
		t.Errorf("%v, %d changes of somebody else are counted", err, mine.Load())
	}
}
