package netns

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
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

// processGone waits for the end of a process.
func processGone(ctx context.Context, pid int, t kernel.Target) error {
	id := proc.Identity{PID: pid, Start: t.StartTime}
	var err error
	if id.Start == 0 {
		id, err = proc.Identify(pid)
	}
	fd := -1
	if err == nil {
		fd, err = id.Open()
	}
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	// Only now that the descriptor holds the number can it be looked at.
	if inode, err := inodeAt(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || inode != t.Inode {
		return unix.Close(fd)
	}
	return proc.Await(ctx, fd)
}
