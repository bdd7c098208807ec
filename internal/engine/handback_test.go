package engine

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

var errAway = errors.New("the store is away")

// back are the parts on record that are to be given back.
func back(t *testing.T, w *world) map[string]handback {
	t.Helper()
	all, err := store.Load[handback](w.store, store.Durable, kindHandback)
	must(t, err)
	return all
}

// A network goes at once where nobody can be told: who removes it is warned, and the
// part is given back when somebody can, by a later daemon too. Another network of that
// name meanwhile keeps its own.
func TestHandBackLater(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		w, f := farWorld(t)
		w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
		if len(back(t, w)) != 0 {
			t.Error("the part of a network that is there is to be given back")
		}
		f.is(errAway)
		warnings, err := w.RemoveNetwork(ctx, "wide")
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], errAway.Error()) || w.warnings() != warnings[0] {
			t.Errorf("removed (%v) with warnings %q, and all are %q", err, warnings, w.warnings())
		}
		if f.parts() != 1 || len(back(t, w)) != 1 {
			t.Errorf("%d parts are taken, on record are %+v", f.parts(), back(t, w))
		}
		if restarts {
			w.restart()
			eventually(t, "a warning of the next daemon", func() bool { return strings.Contains(w.warnings(), errAway.Error()) })
		}
		f.is(nil)
		again := w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
		if restarts {
			w.restart()
		}
		eventually(t, "it is given back", func() bool { return f.parts() == 1 && len(back(t, w)) == 0 && w.warnings() == "" })
		if !f.taken[again.ID] {
			t.Error("it has lost its part to the network before")
		}
	}
}

// Whoever has a part without having heard that gives it back; who cannot even ask has
// nothing to give back, and nobody is told of it.
func TestHandBackUnheard(t *testing.T) {
	w, f := farWorld(t)
	f.lose = errAway
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "wide", Driver: "far"}); !errors.Is(err, errAway) || f.parts() != 0 || len(back(t, w)) != 0 {
		t.Errorf("made (%v), %d parts are taken, on record are %+v", err, f.parts(), back(t, w))
	}
	f.is(errAway)
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "wide", Driver: "far"}); !errors.Is(err, errAway) || f.left != 1 || w.warnings() != "" {
		t.Errorf("made (%v), %d were to be given back, warnings %q", err, f.left, w.warnings())
	}
}

// A part that nobody can have any more is forgotten, once that was tried.
func TestHandBackLapses(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	f.is(errAway)
	must(t, w.noNetwork("wide"))
	for id, p := range back(t, w) {
		p.Since = time.Now().Add(-driver.Lapse - time.Hour)
		must(t, w.store.Update(store.Durable, func(tx *store.Tx) error { return tx.Put(kindHandback, id, p) }))
	}
	left := f.left
	w.restart()
	eventually(t, "it is forgotten", func() bool { return len(back(t, w)) == 0 && w.warnings() == "" })
	if f.left == left {
		t.Error("it was not tried once more")
	}
}

// Before all records go, all parts do, and what leads to other hosts with them; who
// cannot be asked keeps nothing from going.
func TestForsake(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	f.is(errAway)
	must(t, w.noNetwork("wide"))
	f.is(nil)
	f.part.Subnets, f.part.Span = []netip.Prefix{prefix("10.6.3.0/24")}, []netip.Prefix{prefix("10.6.0.0/16")}
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	w.closeNow()
	must(t, w.kernel.Reach(ctx, []kernel.Reach{{Link: "eth0", Subnet: prefix("10.6.9.0/24"), Via: addr("192.0.2.2")}}, nil))
	w.open(nil)
	must(t, errors.Join(w.Withdraw(ctx), w.Forsake(ctx)))
	if left, err := w.kernel.Reached(ctx); err != nil || len(left) != 0 || f.parts() != 0 {
		t.Errorf("%d parts are not given back, %v are still reached (%v)", f.parts(), left, err)
	}
	f.is(errAway)
	if err := w.Forsake(ctx); err != nil || len(back(t, w)) != 0 {
		t.Errorf("without anybody to ask: %v, on record are %+v", err, back(t, w))
	}
}
