package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// trial bounds how long a program may take to say that it could start.
const trial = 10 * time.Second

// Program is the path at which the next program is found: what this one was
// called by, so that a link may lead elsewhere by now, or where it is.
func Program() (string, error) {
	if strings.Contains(os.Args[0], "/") {
		return filepath.Abs(os.Args[0])
	}
	return os.Executable()
}

// Try runs a program with this one's arguments and some more, and returns an
// error with what it said if it does not end well.
func Try(ctx context.Context, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, trial)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(os.Args[1:len(os.Args):len(os.Args)], args...)...)
	cmd.WaitDelay = time.Second // for what it has started and does not wait for
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("try %s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Exec puts the program, with this one's arguments and environment, into this
// one's place. It returns only if that cannot be, or ctx has ended; all is as it
// was then. Until the next program listens to it, the signal is ignored.
func (p *Parcel) Exec(ctx context.Context, program string, again os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// No child may be started meanwhile: it would inherit what it must not.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	m := manifest{PID: os.Getpid(), Files: make(map[string]int), Notes: p.notes}
	for _, e := range p.sent {
		fd, err := e.keep()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) {
			continue // whose socket it was has just gone
		}
		if err != nil {
			return errors.Join(fmt.Errorf("hand over %s: %w", e.name, err), keepNot(m.Files))
		}
		m.Files[e.name] = fd
	}
	f, err := m.write()
	if err != nil {
		return errors.Join(err, keepNot(m.Files))
	}
	defer f.Close()
	// A signal to end that was heard until now would be lost.
	if err := ctx.Err(); err != nil {
		return errors.Join(err, keepNot(m.Files))
	}
	signal.Ignore(again) // which outlives the exec, unlike a handler
	err = syscall.Exec(program, os.Args, append(os.Environ(), variable+"="+strconv.Itoa(int(f.Fd()))))
	return errors.Join(fmt.Errorf("execute %s: %w", program, err), keepNot(m.Files))
}

// keep has the entry's descriptor outlive an exec.
func (e entry) keep() (fd int, err error) {
	if e.conn == nil {
		_, err := unix.FcntlInt(uintptr(e.fd), unix.F_SETFD, 0)
		return e.fd, err
	}
	raw, err := e.conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(n uintptr) {
		fd = int(n)
		_, failed = unix.FcntlInt(n, unix.F_SETFD, 0)
	})
	return fd, errors.Join(err, failed)
}

// keepNot is the opposite of keep. A descriptor that was closed meanwhile and
// is another's by now is closed on exec anyway.
func keepNot(files map[string]int) error {
	var errs []error
	for _, fd := range files {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil && err != unix.EBADF {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// write writes the manifest into a memory file that outlives an exec.
func (m manifest) write() (*os.File, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(variable, 0)
	if err != nil {
		return nil, fmt.Errorf("make manifest: %w", err)
	}
	f := os.NewFile(uintptr(fd), variable)
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("write manifest: %w", err), f.Close())
	}
	return f, nil
}

// Monotonic is the time of CLOCK_MONOTONIC, which service managers count by.
func Monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // no kernel lacks it
	}
	return time.Duration(now.Nano())
}
