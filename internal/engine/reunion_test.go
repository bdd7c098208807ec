package engine

import (
	"testing"
	"time"

	"github.com/catenet/catenet"
)

// TestAnEndThatNobodySawCanBeAskedFor has a container that removes itself end
// while no daemon is there: whoever ran it comes back a little later.
func TestAnEndThatNobodySawCanBeAskedFor(t *testing.T) {
	w := newWorld(t)
	c := container("c")
	c.Process.AutoRemove = true
	st, err := w.CreateSandbox(ctx, c, true)
	must(t, err)
	dir := w.processDir(st.ID)
	w.closeNow()
	w.processes.End(dir, 7)
	w.reunion = time.Second
	begin := time.Now()
	w.boot(nil)
	eventually(t, "its end is seen", func() bool {
		got, err := w.Sandbox(ctx, "c")
		must(t, err)
		return got.State == catenet.StateExited
	})
	if code, err := w.Wait(ctx, st.ID, func() {}); err != nil || code != 7 {
		t.Errorf("exit code %d, %v", code, err)
	}
	eventually(t, "it removes itself", func() bool {
		_, err := w.Sandbox(ctx, "c")
		return catenet.IsNotFound(err)
	})
	if took := time.Since(begin); took < w.reunion {
		t.Errorf("it was gone after %v", took)
	}

	// A container of this daemon's own goes at once, and an old one that is
	// started anew stays.
	own, err := w.CreateSandbox(ctx, c, true)
	must(t, err)
	w.closeNow()
	w.reunion = time.Hour
	w.boot(nil)
	w.processes.End(w.processDir(own.ID), 0)
	eventually(t, "its end is seen", func() bool {
		got, err := w.Sandbox(ctx, "c")
		must(t, err)
		return got.State == catenet.StateExited
	})
	before, err := w.record("c")
	must(t, err)
	must(t, w.Start(ctx, "c"))
	w.removeIfEnded(w.sandboxes[own.ID], before)
	if _, err := w.Sandbox(ctx, "c"); err != nil {
		t.Errorf("started anew: %v", err)
	}
	w.processes.End(w.processDir(own.ID), 0)
	eventually(t, "it removes itself at once", func() bool {
		_, err := w.Sandbox(ctx, "c")
		return catenet.IsNotFound(err)
	})
}
