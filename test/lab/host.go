package lab

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// patience bounds every command and every wait of a lab, so that a test that
// hangs says where.
const patience = 30 * time.Second

// Host is one machine of a lab.
type Host struct {
	Name string
	Dir  string
	NS   *kerneltest.NS
	// Addr4 and Addr6 are its addresses on the first wire that has one of
	// that family.
	Addr4, Addr6 netip.Addr
	// Program is the daemon; "" is that of this tree.
	Program string
	// DaemonEnv is added to the environment of the daemons started next.
	DaemonEnv []string

	lab    *Lab
	mounts string     // path of the mount namespace of Own; "" is the machine's
	mu     sync.Mutex // guards started
	daemon *Process
	// started are the programs that end with the test at the latest
	started []*Process
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int // -1: it could not be started or did not end in time
}

// Text is both streams, for messages.
func (r Result) Text() string { return strings.TrimSpace(r.Stdout + r.Stderr) }

// Run runs a command in the host's network namespace and returns how it
// ended. It is killed if it takes longer than 30 seconds.
func (h *Host) Run(name string, args ...string) Result {
	return h.Feed("", name, args...)
}

// Feed is Run with something on standard input.
func (h *Host) Feed(stdin, name string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", h.enter(name, args...)...)
	// A child that holds the pipes (a daemon) must not hold us.
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	r := Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.Code, r.Stderr = -1, r.Stderr+err.Error()
	}
	if ctx.Err() != nil {
		r.Code, r.Stderr = -1, r.Stderr+"did not end in "+patience.String()
	}
	return r
}

// MustRun is Run for a command that has to succeed; it returns its output.
func (h *Host) MustRun(name string, args ...string) string {
	h.lab.T.Helper()
	r := h.Run(name, args...)
	if r.Code != 0 {
		h.lab.T.Fatalf("%s: %s %s: exit %d\n%s", h.Name, name, strings.Join(args, " "), r.Code, r.Text())
	}
	return r.Stdout
}

// Process is a program in the background.
type Process struct {
	Pid  int
	Log  string // path of what it prints
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start starts a program in the host's namespace; it is killed at the end of
// the test. Its process ID is the program's own.
func (h *Host) Start(name string, args ...string) *Process {
	h.lab.T.Helper()
	f, err := os.CreateTemp(h.Dir, filepath.Base(name)+"-*.log")
	if err != nil {
		h.lab.T.Fatal(err)
	}
	defer f.Close()
	return h.start(f, name, args...)
}

func (h *Host) start(log *os.File, name string, args ...string) *Process {
	h.lab.T.Helper()
	return h.startWith(nil, log, name, args...)
}

func (h *Host) startWith(env []string, log *os.File, name string, args ...string) *Process {
	h.lab.T.Helper()
	cmd := exec.Command("nsenter", h.enter(name, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), "CATENET_LAB="+h.lab.Dir), env...)
	if err := cmd.Start(); err != nil {
		h.lab.T.Fatalf("%s: start %s: %v", h.Name, name, err)
	}
	p := &Process{Pid: cmd.Process.Pid, Log: log.Name(), cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait() // how it ended is in the log
		close(p.done)
	}()
	h.mu.Lock()
	h.started = append(h.started, p)
	h.mu.Unlock()
	return p
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal, and waits for the end if it is one that ends.
func (p *Process) Signal(sig syscall.Signal) {
	if p.Ended() {
		return
	}
	p.cmd.Process.Signal(sig) // fails only if it has just ended
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGINT {
		select {
		case <-p.done:
		case <-time.After(patience):
			p.cmd.Process.Kill()
			<-p.done
		}
	}
}

// Wait waits for the end and returns what the program printed.
func (p *Process) Wait() string {
	select {
	case <-p.done:
	case <-time.After(2 * patience):
		p.Signal(syscall.SIGKILL)
	}
	return p.Output()
}

// Output returns what the program has printed so far.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Eventually calls ok until it returns "" or the time is up, and then ends
// the test with what ok said last.
func (l *Lab) Eventually(within time.Duration, ok func() string) {
	l.T.Helper()
	deadline := time.Now().Add(within)
	for {
		last := ok()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			l.T.Fatalf("not within %s: %s", within, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
