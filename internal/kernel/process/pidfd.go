package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

// awaitEnd returns nil when the process has ended, or ctx's error. It waits
// in the runtime's poller and takes no thread.
func awaitEnd(ctx context.Context, id rundir.Identity) error {
	fd, err := id.Open()
	if errors.Is(err, rundir.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	return awaitReadable(ctx, fd)
}

// awaitReadable closes fd, of a process, when that has ended.
func awaitReadable(ctx context.Context, fd int) error {
	// os.NewFile gives only a non-blocking descriptor to the poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch process: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// reap waits for a child and collects it, without a thread that waits; ctx
// ends the waiting, not the child.
func reap(ctx context.Context, p *os.Process) (*os.ProcessState, error) {
	fd, err := unix.PidfdOpen(p.Pid, 0) // ours until it is reaped: no other can have its number
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", p.Pid, err)
	}
	if err := awaitReadable(ctx, fd); err != nil {
		return nil, err
	}
	return p.Wait()
}
