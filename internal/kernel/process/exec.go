package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/process/shim"
)

// Exec implements kernel.Processes. All that the program wrote until it ended
// has been passed on when Exec returns; what it left running in the background
// is not waited for. When ctx ends the program is killed and ctx's error
// returned. A Read of e.Stdin that is under way goes on until it returns: the
// caller closes what it gave.
func (r *Runner) Exec(ctx context.Context, e kernel.Exec) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	spec, err := encodeExec(e)
	if err != nil {
		return 0, err
	}
	var in, out, errOut plug
	defer func() { // a stuck reader of ours must not keep the pipes
		in.close()
		out.close()
		errOut.close()
	}()
	if err := errors.Join(in.source(e.Stdin), out.sink(e.Stdout), errOut.sink(e.Stderr)); err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	p, reports, err := r.converse([]string{"exec"}, spec, in.theirs, out.theirs, errOut.theirs)
	if err != nil {
		return 0, translate("exec", err)
	}
	// The shim kills the program when nobody holds this end any more.
	defer reports.Close()
	stop := context.AfterFunc(ctx, func() { reports.Close() })
	defer stop()

	in.run(func() error { _, err := io.Copy(in.ours, e.Stdin); return errors.Join(err, in.ours.Close()) })
	out.run(func() error { _, err := io.Copy(e.Stdout, out.ours); return err })
	errOut.run(func() error { _, err := io.Copy(e.Stderr, errOut.ours); return err })

	report := make([]byte, 64<<10)
	n, err := reports.Read(report)
	if err == nil || errors.Is(err, io.EOF) {
		err = shim.ParseReport(report[:n])
	}
	state, waitErr := reap(context.Background(), p)
	if ctx.Err() != nil {
		return 0, ctx.Err() // whoever was to read the output may be gone
	}
	drainErr := errors.Join(out.drain(e.Stdout), errOut.drain(e.Stderr))
	if err = errors.Join(err, waitErr); err != nil {
		return 0, translate("exec", err)
	}
	if drainErr != nil {
		return 0, fmt.Errorf("exec: pass on output: %w", drainErr)
	}
	return exitCode(state), nil
}

func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(unix.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

// encodeExec writes the spec of one more program.
func encodeExec(e kernel.Exec) ([]byte, error) {
	if len(e.Args) == 0 {
		return nil, catenet.Invalidf("exec: there is no command").WithHint("catenet exec NAME -- COMMAND")
	}
	s := &shim.Spec{Netns: e.Netns, Args: e.Args, Env: e.Env}
	switch {
	case e.Dir != "":
		rec, running, err := look(e.Dir)
		if err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
		if !running {
			return nil, catenet.Conflictf("exec: the container is not running").WithHint("catenet start NAME")
		}
		s.Inside = rec.Init
	case e.Netns == "":
		return nil, errors.New("exec: neither a container nor a namespace is named")
	case e.Etc != "":
		files, err := os.ReadDir(e.Etc)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("exec: list files of the namespace: %w", err)
		}
		for _, f := range files {
			s.Files = append(s.Files, shim.Bind{Target: filepath.Join("/etc", f.Name()), Source: filepath.Join(e.Etc, f.Name())})
		}
	}
	b, err := s.Encode()
	return b, translate("exec", err)
}

// plug is one of a program's standard streams: a pipe of which the program
// has one end, or nothing at all.
type plug struct {
	ours, theirs *os.File
	done         chan error // of the copying
}

// source prepares standard input.
func (p *plug) source(r io.Reader) (err error) {
	if r == nil {
		p.theirs, err = os.Open(os.DevNull)
		return err
	}
	p.theirs, p.ours, err = os.Pipe()
	return err
}

// sink prepares standard output or error.
func (p *plug) sink(w io.Writer) (err error) {
	if w == nil {
		p.theirs, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return err
	}
	p.ours, p.theirs, err = os.Pipe()
	return err
}

// run starts the copying.
func (p *plug) run(copying func() error) {
	if p.ours == nil {
		return
	}
	p.done = make(chan error, 1)
	go func() { p.done <- copying() }()
}

// drain ends the copying to w once all that is in the pipe has been copied.
// The pipe's end is not waited for: a process in the background may have it
// open for long.
func (p *plug) drain(w io.Writer) error {
	if p.done == nil {
		return nil
	}
	if err := p.ours.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	if err := <-p.done; !errors.Is(err, os.ErrDeadlineExceeded) {
		return err // at the end already, or w failed
	}
	raw, err := p.ours.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		var n int
		if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf) }); err != nil {
			return err
		}
		if n <= 0 { // the end, or EAGAIN: empty
			return nil
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// close closes both ends; either may be closed already.
func (p *plug) close() {
	for _, f := range []*os.File{p.ours, p.theirs} {
		if f != nil {
			f.Close()
		}
	}
}
