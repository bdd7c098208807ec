package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Processes is kernel.Processes in memory. Containers go on while an engine
// is replaced by another on the same Processes, as they do when a daemon dies.
type Processes struct {
	// OnStart, if set, may refuse a start; OnExec answers Exec, which
	// otherwise succeeds. Both are set before use, and called unlocked.
	OnStart func(kernel.Container) error
	OnExec  func(context.Context, kernel.Exec) (int, error)
	// Stubborn programs end by SIGKILL only, as PID 1 does that has no
	// handler; others by SIGTERM and SIGINT too. Set before use.
	Stubborn bool

	mu         sync.Mutex // guards what follows
	lastPID    int
	containers map[string]*process // by folder
}

// process is the last run of a container.
type process struct {
	c     kernel.Container
	pid   int
	ended chan struct{} // closed once exit is set
	exit  kernel.Exit
}

var _ kernel.Processes = (*Processes)(nil)

// NewProcesses returns one without containers. The first PID is 101.
func NewProcesses() *Processes {
	return &Processes{lastPID: 100, containers: map[string]*process{}}
}

// Start implements kernel.Processes.
func (f *Processes) Start(ctx context.Context, c kernel.Container) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(c.Args) == 0 {
		return 0, catenet.Invalidf("the container has no command")
	}
	if f.OnStart != nil {
		if err := f.OnStart(c); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running(c.Dir) != nil {
		return 0, catenet.Conflictf("the container is running already")
	}
	f.lastPID++
	f.containers[c.Dir] = &process{c: c, pid: f.lastPID, ended: make(chan struct{})}
	return f.lastPID, nil
}

// running returns the folder's container if it runs. f.mu is held.
func (f *Processes) running(dir string) *process {
	p := f.containers[dir]
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	default:
		return p
	}
}

// End ends the folder's container with that exit code, and reports whether
// it ran.
func (f *Processes) End(dir string, code int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.running(dir)
	if p == nil {
		return false
	}
	p.exit = kernel.Exit{Code: code, Finished: time.Now()}
	close(p.ended)
	return true
}

// Started returns what the folder's container was started with last.
func (f *Processes) Started(dir string) (kernel.Container, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.containers[dir]
	if p == nil {
		return kernel.Container{}, false
	}
	return p.c, true
}

// Wait implements kernel.Processes.
func (f *Processes) Wait(ctx context.Context, dir string) (kernel.Exit, error) {
	f.mu.Lock()
	p := f.containers[dir]
	f.mu.Unlock()
	if p == nil {
		return kernel.Exit{}, catenet.NotFoundf("wait for container: none was started in %s", dir)
	}
	select {
	case <-p.ended:
		return p.exit, nil
	case <-ctx.Done():
		return kernel.Exit{}, ctx.Err()
	}
}

// Running returns the PID of the container's first process, or 0 if there is
// none (no more, or never).
func (f *Processes) Running(dir string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.running(dir); p != nil {
		return p.pid, nil
	}
	return 0, nil
}

// Signal implements kernel.Processes.
func (f *Processes) Signal(_ context.Context, dir string, sig syscall.Signal) error {
	if sig == syscall.SIGKILL || !f.Stubborn && (sig == syscall.SIGTERM || sig == syscall.SIGINT) {
		f.End(dir, 128+int(sig))
	}
	return nil
}

// Exec implements kernel.Processes.
func (f *Processes) Exec(ctx context.Context, e kernel.Exec) (int, error) {
	switch pid, err := f.Running(e.Dir); {
	case len(e.Args) == 0:
		return 0, catenet.Invalidf("exec: there is no command")
	case e.Dir == "" && e.Netns == "":
		return 0, errors.New("exec: neither a container nor a namespace is named")
	case err != nil:
		return 0, err
	case e.Dir != "" && pid == 0:
		return 0, catenet.Conflictf("exec: the container is not running")
	}
	if f.OnExec != nil {
		return f.OnExec(ctx, e)
	}
	return 0, ctx.Err()
}

// String lists the containers that run, sorted by folder: "PID DIR: ARGS".
func (f *Processes) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, dir := range slices.Sorted(maps.Keys(f.containers)) {
		if p := f.running(dir); p != nil {
			fmt.Fprintf(&b, "%d %s: %s\n", p.pid, dir, strings.Join(p.c.Args, " "))
		}
	}
	return b.String()
}
