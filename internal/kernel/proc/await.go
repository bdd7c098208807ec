package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Await returns nil once the process of a pidfd has ended, or ctx's error. It
// waits in the runtime's poller and takes no thread. It closes fd.
func Await(ctx context.Context, fd int) error {
	// os.NewFile gives only a non-blocking descriptor to the poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch process: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	return Poll(ctx, f, func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
}

// Poll calls look at once and whenever the runtime's poller is told of an
// event on f, until look returns true, or ctx ends, whose error it returns
// then.
func Poll(ctx context.Context, f *os.File, look func(fd uintptr) bool) error {
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
	if err := raw.Read(look); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return ctx.Err()
}
