package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
	"github.com/catenet/catenet/internal/kernel/process/shim"
)

// Options of a Runner.
type Options struct {
	Shim string // path of catenet-shim; "" is beside the daemon's executable
	Log  *slog.Logger
	// Adopt reaps, once they end, the children that this process has already:
	// execve(2) has left them to us.
	Adopt bool
}

// Runner is kernel.Processes on the real kernel. It keeps nothing in memory
// that matters: a container is its folder (package rundir). Only where somebody
// removes that does it know better than what it finds.
type Runner struct {
	shim string
	log  *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	reaped sync.WaitGroup // those who wait for shims of ours to end
	settle sync.Mutex     // at most one decides how a container ended whose shim didn't say

	mu      sync.Mutex               // guards awaited
	awaited map[string]rundir.Record // by folder: who runs in it, while somebody waits for the end
}

var _ kernel.Processes = (*Runner)(nil)

// New returns a Runner.
func New(o Options) *Runner {
	r := &Runner{shim: o.Shim, log: o.Log, awaited: make(map[string]rundir.Record)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.shim == "" {
		if exe, err := os.Executable(); err == nil {
			r.shim = filepath.Join(filepath.Dir(exe), "catenet-shim")
		}
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	// What the daemon itself was born with (a careless parent's files) must
	// not live on in its shims. Go's own are closed on exec anyway. Linux
	// before 5.11 lacks the call; the shim sees to itself then.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		r.log.Debug("inherited descriptors stay open in shims", "err", err)
	}
	if o.Adopt {
		r.adopt()
	}
	return r
}

// adopt reaps, once they end, the children of the program that ran in this
// process before us.
func (r *Runner) adopt() {
	// The first thread's are all (proc_pid_children(5)): no other has any yet.
	list, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		r.log.Debug("children of an earlier program are not reaped", "err", err)
	}
	for _, word := range strings.Fields(string(list)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue // nobody else's: it can only be gone by our own doing
		}
		r.reapLater(p)
	}
}

// reapLater reaps a child once it ends.
func (r *Runner) reapLater(p *os.Process) {
	r.reaped.Go(func() {
		if _, err := reap(r.ctx, p); err != nil && r.ctx.Err() == nil {
			r.log.Warn("a shim can't be reaped", "pid", p.Pid, "err", err)
		}
	})
}

// Close stops looking after the shims that were started here, and waits for
// that. Containers are not touched.
func (r *Runner) Close() error {
	r.cancel()
	r.reaped.Wait()
	return nil
}

// environment of a shim: one thread at a time, and no garbage collection
// unless something goes very wrong.
var environment = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=16MiB"}

// launch starts a shim with descriptors from 0 on, which it closes here, and
// gives it up to nobody: the caller reaps it.
func (r *Runner) launch(args []string, files ...*os.File) (*os.Process, error) {
	failpoint.Before("process.launch")
	p, err := os.StartProcess(r.shim, append([]string{"catenet-shim"}, args...), &os.ProcAttr{
		Dir: "/", Env: environment, Files: files,
		Sys: &unix.SysProcAttr{Setsid: true},
	})
	failpoint.After("process.launch")
	for _, f := range files {
		f.Close()
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, catenet.NotFoundf("start the container: there is no %s", r.shim).
			WithHint("install catenet-shim beside catenetd: make install does")
	}
	return p, err
}

// translate makes a failure in the shim one of the daemon's.
func translate(doing string, err error) error {
	if f, ok := errors.AsType[*shim.Failure](err); ok {
		e := catenet.Errorf(catenet.KindFromString(f.Kind), "%s: %w", doing, err)
		if f.Hint != "" {
			e.Hint = f.Hint
		}
		return e
	}
	return limit.Files(err)
}
