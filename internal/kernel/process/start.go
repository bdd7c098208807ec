package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
	"github.com/catenet/catenet/internal/kernel/process/shim"
)

// Start implements kernel.Processes.
func (r *Runner) Start(ctx context.Context, c kernel.Container) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	spec, err := encode(c)
	if err != nil {
		return 0, err
	}
	for _, dir := range []string{c.Dir, filepath.Dir(c.Log)} {
		failpoint.Before("process.folder")
		err := os.MkdirAll(dir, 0o700)
		failpoint.After("process.folder")
		if err != nil {
			return 0, fmt.Errorf("make folder of container: %w", err)
		}
	}
	lock, err := r.claim(ctx, c.Dir)
	if err != nil {
		return 0, err
	}
	err = r.start(ctx, c, spec, lock)
	if err != nil {
		return 0, translate("start container", err)
	}
	rec, err := rundir.ReadRecord(c.Dir)
	if err != nil {
		return 0, fmt.Errorf("read who runs the container: %w", err)
	}
	return rec.Init.PID, nil
}

// encode checks what can be checked here and writes the spec.
func encode(c kernel.Container) ([]byte, error) {
	if len(c.Args) == 0 {
		return nil, catenet.Invalidf("the container has no command").WithHint("catenet run … -- COMMAND")
	}
	for _, path := range []string{c.Dir, c.Log} {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("start container: %q is no absolute path", path)
		}
	}
	if c.Rootfs != "" && !filepath.IsAbs(c.Rootfs) {
		return nil, catenet.Invalidf("the root file system %q is no absolute path", c.Rootfs).WithHint("write it from / on")
	}
	s := &shim.Spec{
		Netns: c.Netns, Hostname: c.Hostname, HostUTS: c.HostUTS, Rootfs: c.Rootfs, WorkDir: c.WorkDir,
		Args: c.Args, Env: c.Env, Hide: c.Hide,
	}
	for _, target := range slices.Sorted(maps.Keys(c.Files)) {
		s.Files = append(s.Files, shim.Bind{Target: target, Source: c.Files[target]})
	}
	b, err := s.Encode()
	return b, translate("start container", err)
}

// claim takes the folder and forgets its last run. A program that outlived
// its shim is killed first.
func (r *Runner) claim(ctx context.Context, dir string) (*os.File, error) {
	if err := r.bury(ctx, dir); err != nil {
		return nil, err
	}
	failpoint.Before("process.lock")
	lock, err := rundir.Lock(dir)
	failpoint.After("process.lock")
	if errors.Is(err, rundir.ErrBusy) {
		return nil, catenet.Conflictf("the container is running already")
	}
	if err != nil {
		return nil, fmt.Errorf("lock folder of container: %w", err)
	}
	failpoint.Before("process.clear")
	err = rundir.Clear(dir)
	failpoint.After("process.clear")
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("forget the last run: %w", err)
	}
	return lock, nil
}

// start starts the shim, and returns when the program runs. It closes lock;
// the shim has a copy of it.
func (r *Runner) start(ctx context.Context, c kernel.Container, spec []byte, lock *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		lock.Close()
		return err
	}
	failpoint.Before("process.stderr")
	stderr, err := os.OpenFile(rundir.StderrPath(c.Dir), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	failpoint.After("process.stderr")
	if err != nil {
		return errors.Join(err, lock.Close(), null.Close())
	}
	p, reports, err := r.converse([]string{"run", c.Dir, c.Log}, spec, null, null, stderr, lock)
	if err != nil {
		return err
	}
	defer reports.Close()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() }) // takes the container along
	report, err := io.ReadAll(reports)
	if err == nil {
		err = shim.ParseReport(report)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		// It is about to end, or has: only that matters.
		_ = p.Kill()
		_, _ = p.Wait()
		if errors.Is(err, shim.ErrNoReport) {
			err = complained(c.Dir, err)
		}
		if clearErr := rundir.Clear(c.Dir); clearErr != nil {
			r.log.Warn("the folder of a container that didn't start can't be cleared", "err", clearErr)
		}
		return err
	}
	r.reapLater(p)
	return nil
}

// complained is err with what the shim said when it had no time for a report.
func complained(dir string, err error) error {
	b, readErr := os.ReadFile(rundir.StderrPath(dir))
	if readErr != nil || len(b) == 0 {
		return err
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	return fmt.Errorf("%w; it printed: %s", err, first)
}

// converse starts a shim that reads spec from the descriptor after files and
// reports on the one after that. It closes files.
func (r *Runner) converse(args []string, spec []byte, files ...*os.File) (*os.Process, *os.File, error) {
	fail := func(err error) (*os.Process, *os.File, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, nil, fmt.Errorf("start catenet-shim: %w", err)
	}
	specR, specW, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	reports, reportW, err := os.Pipe()
	if err != nil {
		specR.Close()
		specW.Close()
		return fail(err)
	}
	p, err := r.launch(args, append(files, specR, reportW)...)
	if err != nil {
		specW.Close()
		reports.Close()
		return nil, nil, fmt.Errorf("start catenet-shim: %w", err)
	}
	go func() {
		_, _ = specW.Write(spec) // fails if the shim is dead, which its report will tell
		specW.Close()
	}()
	return p, reports, nil
}
