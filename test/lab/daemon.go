package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// RunDir and StateDir are the daemon's folders on this host.
func (h *Host) RunDir() string   { return filepath.Join(h.Dir, "run") }
func (h *Host) StateDir() string { return filepath.Join(h.Dir, "state") }

// Socket is the path of the daemon's socket.
func (h *Host) Socket() string { return filepath.Join(h.RunDir(), "catenet.sock") }

// Daemon starts the real daemon on this host and returns when it answers.
func (h *Host) Daemon(args ...string) {
	h.lab.T.Helper()
	h.StartDaemon(args...)
	h.lab.Eventually(patience, func() string {
		if h.daemon.Ended() {
			h.lab.T.Fatalf("%s: catenetd ended at its start:\n%s", h.Name, h.Log())
		}
		if r := h.Try("info", "--format", "json"); r.Code != 0 {
			return h.Name + ": catenetd does not answer: " + r.Text()
		}
		return ""
	})
}

// StartDaemon is Daemon without the wait.
func (h *Host) StartDaemon(args ...string) {
	h.lab.T.Helper()
	if h.daemon != nil && !h.daemon.Ended() {
		h.lab.T.Fatalf("%s: catenetd runs already", h.Name)
	}
	log, err := os.OpenFile(filepath.Join(h.Dir, "catenetd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		h.lab.T.Fatal(err)
	}
	defer log.Close()
	h.daemon = h.startWith(h.DaemonEnv, log, cmp.Or(h.Program, filepath.Join(Binaries(h.lab.T), "catenetd")),
		append([]string{"--run-dir", h.RunDir(), "--state-dir", h.StateDir()}, args...)...)
}

// DaemonPid is the process of the daemon started last.
func (h *Host) DaemonPid() int { return h.daemon.Pid }

// DaemonCode is the exit code of the daemon started last, which has ended; -1
// if a signal ended it.
func (h *Host) DaemonCode() int { return h.daemon.cmd.ProcessState.ExitCode() }

// DaemonEnds reports whether the daemon started last ends within a time.
func (h *Host) DaemonEnds(within time.Duration) bool {
	select {
	case <-h.daemon.done:
	case <-time.After(within):
	}
	return h.daemon.Ended()
}

// Kill ends the daemon as a crash would: SIGKILL.
func (h *Host) Kill() { h.daemon.Signal(syscall.SIGKILL) }

// Stop ends the daemon as systemctl stop would: SIGTERM.
func (h *Host) Stop() { h.daemon.Signal(syscall.SIGTERM) }

// Upgrade has the daemon replaced by the program at its path, as systemctl
// reload would: SIGUSR2. It does not wait.
func (h *Host) Upgrade() { h.daemon.Signal(syscall.SIGUSR2) }

// Log returns what the daemons of this host have logged.
func (h *Host) Log() string {
	b, err := os.ReadFile(filepath.Join(h.Dir, "catenetd.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Try runs the CLI against this host's daemon.
func (h *Host) Try(args ...string) Result {
	return h.TryFeed("", args...)
}

// TryFeed is Try with something on standard input.
func (h *Host) TryFeed(stdin string, args ...string) Result {
	h.lab.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(Binaries(h.lab.T), "catenet"), append([]string{"-H", "unix://" + h.Socket()}, args...)...)
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return Result{Stderr: err.Error(), Code: -1}
	}
	return Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
}

// Catenet runs a verb of the CLI that has to succeed, and returns what it
// printed, without white space at the ends.
func (h *Host) Catenet(args ...string) string {
	h.lab.T.Helper()
	r := h.Try(args...)
	if r.Code != 0 {
		h.lab.T.Fatalf("%s: catenet %s: exit %d\n%s\nlog of the daemon:\n%s",
			h.Name, strings.Join(args, " "), r.Code, r.Text(), tail(h.Log(), 20))
	}
	return strings.TrimSpace(r.Stdout)
}

// Refused runs a verb that has to fail with exit code 1 (or 2 for a wrong
// usage) and all the words given in what it says.
func (h *Host) Refused(words []string, args ...string) {
	h.lab.T.Helper()
	r := h.Try(args...)
	if r.Code != 1 && r.Code != 2 {
		h.lab.T.Errorf("catenet %s: exit %d, want a refusal\n%s", strings.Join(args, " "), r.Code, r.Text())
	}
	for _, w := range words {
		if !strings.Contains(strings.ToLower(r.Stderr), strings.ToLower(w)) {
			h.lab.T.Errorf("catenet %s says %q, which lacks %q", strings.Join(args, " "), strings.TrimSpace(r.Stderr), w)
		}
	}
}

// Inspect runs a verb with --format json and decodes what it prints into v.
func (h *Host) Inspect(v any, args ...string) {
	h.lab.T.Helper()
	out := h.Catenet(append(args, "--format", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.lab.T.Fatalf("catenet %s: %v in %s", strings.Join(args, " "), err, out)
	}
}

// Dial connects to the daemon's socket.
func (h *Host) Dial() (net.Conn, error) { return net.Dial("unix", h.Socket()) }

// Exec runs a command in a container.
func (h *Host) Exec(container string, command ...string) Result {
	h.lab.T.Helper()
	return h.Try(append([]string{"exec", container, "--"}, command...)...)
}

// close empties the host as its user would, proves that it is empty, and
// stops what still runs.
func (h *Host) close() {
	if h.daemon != nil {
		if h.lab.T.Failed() {
			h.lab.T.Logf("log of catenetd on %s:\n%s", h.Name, tail(h.Log(), 60))
		}
		if h.daemon.Ended() {
			h.Daemon() // what a dead daemon left, the next one clears up
		}
		h.clear()
		h.Stop()
		h.unmountPins()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.started {
		p.Signal(syscall.SIGKILL)
	}
}

// unmountPins takes down the file system of pinned eBPF programs. A daemon
// leaves it, because what it published goes on when it ends; a machine that is
// switched off does not have it any more.
func (h *Host) unmountPins() {
	err := syscall.Unmount(filepath.Join(h.RunDir(), "bpf"), 0)
	if err != nil && err != syscall.EINVAL && err != syscall.ENOENT {
		h.lab.T.Errorf("%s: unmount pins: %v", h.Name, err)
	}
}

// clear removes every container and network, and reports what of them the
// host still shows a moment later. It goes on past a refusal: a namespace may
// end by itself meanwhile.
func (h *Host) clear() {
	t := h.lab.T
	deadline := time.Now().Add(patience)
	for {
		ids := strings.Fields(h.Try("ps", "-aq").Stdout)
		if len(ids) > 0 {
			h.Try(append([]string{"rm", "-f"}, ids...)...)
		}
		last := h.Try("network", "prune", "-f")
		left := h.strays()
		if last.Code != 0 {
			left = append(left, last.Text())
		}
		if len(left)+len(ids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: left behind after rm and prune: %s %s", h.Name, strings.Join(ids, " "), strings.Join(left, "; "))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
