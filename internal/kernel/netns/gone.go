package netns

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Gone blocks until the process or path of t no longer stands for the
// namespace t.Inode. A process that lives on and enters another namespace by
// itself is not noticed: the kernel tells nobody.
func (n *Namespaces) Gone(ctx context.Context, t kernel.Target) error {
	pid := t.PID
	if pid == 0 {
		pid = pidOf(t.Path)
	}
	if pid == 0 {
		return n.mounts.wait(ctx, func() bool {
			inode, err := inodeAt(t.Path)
			return err != nil || inode != t.Inode
		})
	}
	return processGone(ctx, pid, t)
}

// pidOf returns the process of a path like /proc/PID/ns/net, or 0.
func pidOf(path string) int {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return 0
	}
	word, _, _ := strings.Cut(rest, "/")
	pid, err := strconv.Atoi(word)
	if err != nil {
		return 0
	}
	return pid
}

// processGone waits for the end of a process by its pidfd (pidfd_open(2)),
// which holds the number of the process and nothing else of it.
func processGone(ctx context.Context, pid int, t kernel.Target) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH || err == unix.EINVAL { // EINVAL: it is a thread now
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	// Only now that the descriptor holds the number can it be compared.
	if start, err := StartTime(pid); err != nil || t.StartTime != 0 && start != t.StartTime {
		return nil
	}
	if inode, err := inodeAt(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || inode != t.Inode {
		return nil
	}
	return pollLoop(ctx, f, func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 && err == nil
	})
}

// pollLoop calls look at once and whenever the runtime's poller is told of an
// event on f, until look returns true or ctx ends.
func pollLoop(ctx context.Context, f *os.File, look func(fd uintptr) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	// A deadline in the past wakes the loop; it fails where f is closed,
	// when there is no loop to wake.
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = raw.Read(look)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// StartTime returns when a process started, in clock ticks since boot
// (proc(5), stat field 22): with the PID it names a process for good.
func StartTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, catenet.NotFoundf("there is no process %d", pid)
	}
	// The second field is the program's name in parentheses, and may hold
	// anything, parentheses too.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read start of process %d: short line", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
