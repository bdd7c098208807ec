package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/proc"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

// killed is the exit code of a container whose shim was killed: 128 + SIGKILL.
const killed = 128 + int(unix.SIGKILL)

// Wait implements kernel.Processes. A folder that no container was started in
// is a not-found error.
func (r *Runner) Wait(ctx context.Context, dir string) (kernel.Exit, error) {
	rec, running, err := look(dir)
	if err == nil && running {
		r.remember(dir, rec)
		if err := awaitEnd(ctx, rec.Shim); err != nil {
			return kernel.Exit{}, err
		}
		r.remember(dir, rundir.Record{})
	}
	if err == nil {
		err = r.bury(ctx, dir)
	}
	if err != nil {
		return kernel.Exit{}, fmt.Errorf("wait for container: %w", limit.Files(err))
	}
	e, err := rundir.ReadExit(dir)
	if errors.Is(err, os.ErrNotExist) {
		return kernel.Exit{}, catenet.NotFoundf("wait for container: none was started in %s", dir)
	}
	return kernel.Exit(e), err
}

// remember notes who runs in a folder, for the case that it is removed; the
// empty record forgets.
func (r *Runner) remember(dir string, rec rundir.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec == (rundir.Record{}) {
		delete(r.awaited, dir)
		return
	}
	r.awaited[dir] = rec
}

// remembered is who has run in a folder when it was looked at last.
func (r *Runner) remembered(dir string) (rec rundir.Record, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok = r.awaited[dir]
	return rec, ok
}

var errShimDied = errors.New("its shim has died")

// Signal implements kernel.Processes.
func (r *Runner) Signal(ctx context.Context, dir string, sig syscall.Signal) error {
	rec, running, err := look(dir)
	if err != nil {
		return fmt.Errorf("signal container: %w", err)
	}
	if !running { // or so the folder says
		if rec, running = r.remembered(dir); !running {
			return nil
		}
	}
	return signal(rec.Init, sig)
}

// signal sends a signal to a process; one that has ended is no error.
func signal(id proc.Identity, sig syscall.Signal) error {
	fd, err := id.Open()
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	defer unix.Close(fd)
	failpoint.Before("process.signal")
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	failpoint.After("process.signal")
	if errors.Is(err, unix.EINVAL) {
		return catenet.Invalidf("there is no signal %d", int(sig))
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", sig, id.PID, err)
	}
	return nil
}

// look returns whether the folder's container runs, and who it is. A start
// that is under way, by a daemon that died since, is waited for.
func look(dir string) (rec rundir.Record, running bool, err error) {
	if err := rundir.AwaitStart(dir); err != nil {
		return rec, false, err
	}
	if running, err = rundir.Held(dir); err != nil || !running {
		return rec, false, err
	}
	rec, err = rundir.ReadRecord(dir)
	if errors.Is(err, os.ErrNotExist) { // a start that has just failed: the shim is about to end
		return rec, false, nil
	}
	return rec, err == nil, err
}

// bury sees to a container whose shim has ended without saying how it did:
// the program is killed if it is not dead yet, and the exit is recorded.
func (r *Runner) bury(ctx context.Context, dir string) error {
	r.settle.Lock()
	defer r.settle.Unlock()
	held, err := rundir.Held(dir)
	if err != nil || held {
		return err
	}
	if _, err := rundir.ReadExit(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	rec, err := rundir.ReadRecord(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := signal(rec.Init, unix.SIGKILL); err != nil {
		return err
	}
	if err := awaitEnd(ctx, rec.Init); err != nil {
		return fmt.Errorf("wait for the program to die: %w", err)
	}
	r.log.Warn("a container was killed", "dir", dir, "err", complained(dir, errShimDied))
	failpoint.Before("process.exit")
	err = rundir.WriteExit(dir, rundir.Exit{Code: killed, Finished: time.Now()})
	failpoint.After("process.exit")
	return err
}
