package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// awaitEnd returns nil when the process has ended, or ctx's error.
func awaitEnd(ctx context.Context, id proc.Identity) error {
	fd, err := id.Open()
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	return proc.Await(ctx, fd)
}

// reap waits for a child and collects it, without a thread that waits; ctx
// ends the waiting, not the child.
func reap(ctx context.Context, p *os.Process) (*os.ProcessState, error) {
	fd, err := unix.PidfdOpen(p.Pid, 0) // ours until it is reaped: no other can have its number
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", p.Pid, err)
	}
	if err := proc.Await(ctx, fd); err != nil {
		return nil, err
	}
	return p.Wait()
}
