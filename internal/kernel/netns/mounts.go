package netns

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// mountCalm is the least time from one look at all paths to the next: mounts
// come and go in swarms, and each look costs two calls a path.
const mountCalm = 20 * time.Millisecond

// mountWatch wakes those who wait for something at a path to change. A
// namespace at a path is a mount, so that the kernel's own notice of mounts
// coming and going says when to look again: polling /proc/self/mountinfo
// (proc_pid_mountinfo(5)) tells of "ip netns del" and also of a bare umount,
// which inotify on the folder would not. One descriptor and one goroutine serve
// all, while there is anybody to serve.
type mountWatch struct {
	mu      sync.Mutex // guards what follows
	waiting map[*mountWait]struct{}
	failed  error // why nobody looks any more
	stop    context.CancelFunc
}

// mountWait is one that waits.
type mountWait struct {
	done func() bool
	over chan error // of one place: nil once done says so, else why nobody looks any more
}

// wait returns nil as soon as done says so, or ctx's error.
func (w *mountWatch) wait(ctx context.Context, done func() bool) error {
	m := &mountWait{done, make(chan error, 1)}
	if err := w.join(m); err != nil {
		return err
	}
	defer w.leave(m)
	if done() { // after joining: a change from here on is seen
		return nil
	}
	select {
	case err := <-m.over:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join starts the watching with the first that waits.
func (w *mountWatch) join(m *mountWait) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("watch mounts: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		w.waiting, w.failed, w.stop = make(map[*mountWait]struct{}), nil, cancel
		go w.run(ctx, os.NewFile(uintptr(fd), "mountinfo"))
	}
	if w.failed == nil {
		w.waiting[m] = struct{}{}
	}
	return w.failed
}

// leave ends the watching with the last that waits.
func (w *mountWatch) leave(m *mountWait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if delete(w.waiting, m); len(w.waiting) == 0 {
		w.stop()
	}
}

// run looks after every change until ctx ends. The kernel tells each change
// once, to whoever polls: to the runtime's poller, so that being called is all
// there is to know. What changes during a look, or the rest after it, is told
// by one more call.
func (w *mountWatch) run(ctx context.Context, f *os.File) {
	defer f.Close()
	err := proc.Poll(ctx, f, func(uintptr) bool {
		for _, m := range w.all(ctx, nil) {
			if m.done() {
				m.tell(nil)
			}
		}
		time.Sleep(mountCalm)
		return false
	})
	for _, m := range w.all(ctx, err) {
		m.tell(err)
	}
}

// all are those who wait, unless ctx is over: they belong to a later run then.
// With failed nobody more can wait.
func (w *mountWatch) all(ctx context.Context, failed error) []*mountWait {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	w.failed = failed
	return slices.Collect(maps.Keys(w.waiting))
}

// tell wakes the one that waits, if that is not done yet.
func (m *mountWait) tell(err error) {
	select {
	case m.over <- err:
	default:
	}
}
