package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// TestRecordsThatCannotBeWritten has the store take nothing any more from the
// n-th call of the kernel on (from the beginning, with none), as on a full
// disk, and starts a daemon once it does again. What was answered is there,
// what was refused is not.
func TestRecordsThatCannotBeWritten(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			well := newWorld(t)
			op.setup(well)
			must(t, op.do(well))
			after := well.shape()
			well.closeNow()
			refused := false
			for n := 0; ; n++ {
				full, err := fillAt(t, op, n, after)
				refused = refused || err != nil
				if !full {
					break // there is no n-th call
				}
			}
			// An end that happens by itself is refused to nobody.
			if !refused && op.name != "end with --rm" && !strings.HasPrefix(op.name, "stop") {
				t.Error("all went well without a single record: this test proves nothing")
			}
		})
	}
}

func fillAt(t *testing.T, op operation, n int, after string) (full bool, err error) {
	w := newWorld(t)
	op.setup(w)
	w.reaper.wait()
	w.closeNow()
	disk := &reaped{died: make(chan struct{}), stop: make(chan struct{})}
	w.boot(func(k *fake.Kernel) hostAndNamespaces { disk.Kernel = k; return disk })
	disk.instead = func() { must(t, w.store.Close()) }
	before := w.shape()
	if n == 0 {
		disk.instead()
		close(disk.died)
	}
	disk.arm(n)
	err = op.do(w)
	w.reaper.wait()
	disk.arm(0)
	select {
	case <-disk.died:
		full = true
	default:
	}
	if err != nil && !op.takesAway() {
		// The machine is as it was at once, not only after the next start.
		if got := w.shape(); got != before {
			t.Errorf("full at call %d, refused (-want +got):\n%s", n, lines(before, got))
		}
	}
	w.restart()
	want := after
	switch {
	case err != nil && op.takesAway():
		if again := op.do(w); again != nil && !catenet.IsNotFound(again) {
			t.Errorf("full at call %d: %v, and once more: %v", n, err, again)
		}
	case err != nil:
		want = before
	}
	if got := w.shape(); got != want {
		t.Errorf("full at call %d: %v, then a start (-want +got):\n%s", n, err, lines(want, got))
	}
	w.closeNow()
	return full, err
}

// lines is the difference of two texts, line by line.
func lines(want, got string) string {
	return cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
}

// TestAContainerThatCannotBeErasedStays has no room for its removal.
func TestAContainerThatCannotBeErasedStays(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	must(t, w.Stop(ctx, "c", 0))
	must(t, w.store.Close())
	if err := w.Remove(ctx, "c", false); err == nil {
		t.Fatal("it was removed without a word on record")
	}
	st, err := w.Sandbox(ctx, "c")
	must(t, err)
	if st.State != catenet.StateExited {
		t.Errorf("it is %s", st.State)
	}
	w.restart()
	must(t, w.Remove(ctx, "c", false))
}
