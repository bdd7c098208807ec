package netns

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// mountWatch wakes those who wait for something at a path to change. A
// namespace at a path is a mount, so that the kernel's own notice of mounts
// coming and going says when to look again: polling /proc/self/mountinfo
// (proc_pid_mountinfo(5)) tells of "ip netns del" and also of a bare umount,
// which inotify on the folder would not. One descriptor serves all, while
// there is anybody to serve.
type mountWatch struct {
	mu      sync.Mutex // guards what follows
	waiting int
	changed chan struct{} // closed at the next change
	failed  error         // why there will be no next change
	stop    context.CancelFunc
}

// wait returns nil as soon as done says so, or ctx's error.
func (w *mountWatch) wait(ctx context.Context, done func() bool) error {
	if err := w.join(); err != nil {
		return err
	}
	defer w.leave()
	for {
		w.mu.Lock()
		changed, failed := w.changed, w.failed
		w.mu.Unlock()
		if done() { // after taking changed: a change from here on is seen
			return nil
		}
		if failed != nil {
			return failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// join starts the watching with the first that waits.
func (w *mountWatch) join() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == 0 {
		fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("watch mounts: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		w.changed, w.failed, w.stop = make(chan struct{}), nil, cancel
		go w.run(ctx, os.NewFile(uintptr(fd), "mountinfo"))
	}
	w.waiting++
	return nil
}

// leave ends the watching with the last that waits.
func (w *mountWatch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting--; w.waiting == 0 {
		w.stop()
	}
}

// run tells of every change until ctx ends. The kernel tells each change
// once, to whoever polls: to the runtime's poller, so that being called is all
// there is to know.
func (w *mountWatch) run(ctx context.Context, f *os.File) {
	defer f.Close()
	err := proc.Poll(ctx, f, func(uintptr) bool {
		w.tell(ctx, nil)
		return false
	})
	w.tell(ctx, err)
}

// tell wakes those who wait.
func (w *mountWatch) tell(ctx context.Context, failed error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil { // over: the fields may belong to a later run
		return
	}
	close(w.changed)
	w.changed, w.failed = make(chan struct{}), failed
}
