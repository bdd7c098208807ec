package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// meanwhile is a kernel in which something else happens, once, while a link is
// seen to.
type meanwhile struct {
	filed
	do func() error
}

func (m *meanwhile) EnsureLink(ctx context.Context, l kernel.Link) error {
	if do := m.do; do != nil {
		m.do = nil
		if err := do(); err != nil {
			return err
		}
	}
	return m.filed.EnsureLink(ctx, l)
}

// interrupted is a world with such a kernel.
func interrupted(t *testing.T) (*world, *meanwhile) {
	w, m := newWorld(t), &meanwhile{}
	w.closeNow()
	w.boot(func(k *fake.Kernel) hostAndNamespaces { m.filed = filed{k}; return m })
	return w, m
}

// TestSubnetsOnTheirWay: what an update is about to add is nobody else's any
// more, and anybody's again if it fails.
func TestSubnetsOnTheirWay(t *testing.T) {
	w, m := interrupted(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	w.network(catenet.NetworkSpec{Name: "other"})
	add := catenet.NetworkUpdate{AddPools: []catenet.Pool{subnet("10.9.0.0/24")}}
	m.do = func() error {
		if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "new", Pools: []catenet.Pool{subnet("10.9.0.0/25")}}); !catenet.IsConflict(err) {
			t.Errorf("a network is made on it: %v", err)
		}
		if _, _, err := w.UpdateNetwork(ctx, "other", add); !catenet.IsConflict(err) {
			t.Errorf("another network has it too: %v", err)
		}
		return errors.New("broken")
	}
	if _, _, err := w.UpdateNetwork(ctx, "n", add); err == nil {
		t.Fatal("a broken kernel was updated")
	}
	_, _, err := w.UpdateNetwork(ctx, "other", add)
	must(t, err)
}

// TestRemovedWhileUpdated: a network that is removed stays so, however an update
// ends that was under way.
func TestRemovedWhileUpdated(t *testing.T) {
	w, m := interrupted(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	removed := make(chan error, 1)
	m.do = func() error {
		go func() { removed <- w.noNetwork("n") }()
		for _, err := w.Network(ctx, "n"); err == nil; _, err = w.Network(ctx, "n") {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // who would go on goes on now
		return errors.New("broken")
	}
	if _, _, err := w.UpdateNetwork(ctx, "n", catenet.NetworkUpdate{MTU: 1400}); err == nil {
		t.Fatal("a broken kernel was updated")
	}
	must(t, <-removed)
	w.restart()
	if _, err := w.Network(ctx, "n"); !catenet.IsNotFound(err) {
		t.Errorf("it is back after a start: %v", err)
	}
}

// TestTwoHalvesOfACircle: of links that are made at the same time, and could not
// both be, one is refused.
func TestTwoHalvesOfACircle(t *testing.T) {
	w, m := interrupted(t)
	for _, name := range []string{"n", "a", "b"} {
		w.network(catenet.NetworkSpec{Name: name})
	}
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"}, catenet.EndpointSpec{Network: "b"})
	w.mustAttach("y", catenet.EndpointSpec{Network: "n"}, catenet.EndpointSpec{Network: "a"})
	back := func() error {
		_, err := w.Connect(ctx, "b", "y", catenet.EndpointSpec{Links: []catenet.Link{{Container: "x", Alias: "x"}}})
		return err
	}
	m.do = func() error {
		if err := back(); !catenet.IsConflict(err) {
			t.Errorf("y links to x, which is about to link to y: %v", err)
		}
		return nil
	}
	_, err := w.Connect(ctx, "a", "x", catenet.EndpointSpec{Links: []catenet.Link{{Container: "y", Alias: "y"}}})
	must(t, err)
	must(t, w.Disconnect(ctx, "a", "x", false))
	must(t, back())
}
