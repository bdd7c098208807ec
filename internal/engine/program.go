package engine

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// program is the container as the process room runs it.
func (e *Engine) program(r *record) kernel.Container {
	c := kernel.Container{
		ID: r.ID, Dir: e.processDir(r.ID), Log: e.logPath(r.ID), Netns: r.NetnsPath,
		Hostname: r.Hostname, HostUTS: r.Mode == catenet.ModeHost,
		Args: r.Process.Args, Env: append(e.linkEnv(r), r.Process.Env...), WorkDir: r.Process.Dir, Rootfs: r.Process.Rootfs,
		Hide: []string{e.netnsDir()},
	}
	if r.Etc != "" {
		c.Files = make(map[string]string)
		for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
			path := filepath.Join(r.Etc, name)
			if _, err := os.Stat(path); err == nil {
				c.Files["/etc/"+name] = path
			}
		}
	}
	return c
}

// notStopped says why a sandbox of somebody else's is not stopped, and who does.
func notStopped(r *record) error {
	err := catenet.Invalidf("%s is an attached namespace: catenet does not stop it", r.Name)
	if stopper := r.Stopper(); stopper != "" {
		return err.WithHint("%s stops it; catenet detach %s takes it out of its networks", stopper, r.Name)
	}
	return err.WithHint("catenet detach %s takes it out of its networks", r.Name)
}

// Stop asks a container to end, and ends it after grace.
func (e *Engine) Stop(ctx context.Context, ref string, grace time.Duration) error {
	sb, now, err := e.lockSandbox(ref) // not between the record of a start and its program
	if err != nil {
		return err
	}
	var ended chan struct{}
	e.locked(func() { ended = sb.ended })
	sb.op.Unlock()
	if now.Owner != catenet.OwnerRun {
		return notStopped(now)
	}
	if now.State != catenet.StateRunning {
		return nil
	}
	dir := e.processDir(now.ID)
	if grace > 0 {
		if err := e.o.Processes.Signal(ctx, dir, syscall.SIGTERM); err != nil {
			return err
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	if err := e.o.Processes.Signal(ctx, dir, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wait blocks until a container is not running and returns how it ended. Once
// found is called, its removal does not get in the way.
func (e *Engine) Wait(ctx context.Context, ref string, found func()) (int, error) {
	e.mu.Lock()
	sb, err := e.sandbox(ref)
	if err != nil {
		e.mu.Unlock()
		return 0, err
	}
	now, ended := sb.now, sb.ended
	e.mu.Unlock()
	if now.Owner != catenet.OwnerRun {
		return 0, catenet.Invalidf("%s is an attached namespace: it has no exit code", now.Name)
	}
	found()
	select {
	case <-ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if sb.now != nil {
		return sb.now.ExitCode, nil
	}
	return sb.exit, nil
}

// Exec runs one more program in a running sandbox.
func (e *Engine) Exec(ctx context.Context, ref string, spec catenet.ExecSpec, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	r, err := e.record(ref)
	if err != nil {
		return 0, err
	}
	if r.State != catenet.StateRunning {
		return 0, catenet.Conflictf("container %s is not running", r.Name).WithHint("catenet start %s first", r.Name)
	}
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return 0, catenet.Invalidf("there is no command to run").WithHint("catenet exec %s -- COMMAND [ARG…]", r.Name)
	}
	x := kernel.Exec{Args: spec.Args, Env: spec.Env, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	if r.Owner == catenet.OwnerRun {
		x.Dir, x.Env = e.processDir(r.ID), slices.Concat(e.linkEnv(r), r.Process.Env, spec.Env)
	} else {
		x.Netns, x.Etc = r.NetnsPath, r.Etc
	}
	return e.o.Processes.Exec(ctx, x)
}

// Logs tells the lines of a container's log.
func (e *Engine) Logs(ctx context.Context, ref string, o catenet.LogOptions, found func(), emit func(stream string, t time.Time, line []byte) error) error {
	e.mu.Lock()
	sb, err := e.sandbox(ref)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	now, ended := sb.now, sb.ended
	e.mu.Unlock()
	if now.Owner != catenet.OwnerRun {
		return catenet.Invalidf("%s is an attached namespace: catenet does not keep its log", now.Name)
	}
	found()
	return e.o.Logs(ctx, e.logPath(now.ID), o, ended, emit)
}
