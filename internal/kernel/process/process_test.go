package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/process"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

// shimPath is the real program, built for the tests.
var shimPath string

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "start-and-hang" {
		startAndHang(os.Args[2], os.Args[3])
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests run containers: run them as root (sudo make test)")
		return 1
	}
	dir, err := os.MkdirTemp("", "catenet-shim")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shimPath = filepath.Join(dir, "catenet-shim")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", shimPath, "github.com/catenet/catenet/cmd/catenet-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// lab is a runner and a folder for its containers.
type lab struct {
	*process.Runner
	t   *testing.T
	dir string
	n   int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	l.Runner = process.New(process.Options{Shim: shimPath, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil || strings.Contains(string(mounts), l.dir) {
			t.Errorf("mounts are left in %s (%v):\n%s", l.dir, err, mounts)
		}
	})
	return l
}

// container fills in what a container needs.
func (l *lab) container(args ...string) kernel.Container {
	l.n++
	dir := filepath.Join(l.dir, fmt.Sprint("c", l.n))
	return kernel.Container{ID: fmt.Sprint(l.n), Dir: dir, Log: filepath.Join(dir, "log", "json.log"), Hostname: "box", Args: args}
}

// sh is a container that runs a shell script on the host's file system.
func (l *lab) sh(script string) kernel.Container {
	return l.container("/bin/busybox", "sh", "-c", script)
}

// start starts c, and kills it when the test ends.
func (l *lab) start(c kernel.Container) int {
	l.t.Helper()
	pid, err := l.Start(l.t.Context(), c)
	if err != nil {
		l.t.Fatalf("start %q: %v", c.Args, err)
	}
	l.t.Cleanup(func() {
		if err := l.Signal(context.Background(), c.Dir, syscall.SIGKILL); err != nil {
			l.t.Error(err)
		}
		l.wait(c)
		if alive(pid) {
			l.t.Errorf("process %d is left", pid)
		}
	})
	return pid
}

// running is the PID of the first process of a folder's container, or 0.
func (l *lab) running(dir string) int {
	l.t.Helper()
	held, err := rundir.Held(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	if !held {
		return 0
	}
	rec, err := rundir.ReadRecord(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	return rec.Init.PID
}

// alive reports whether a process runs still. One that has lost its parent may
// be dead and wait for init to collect it.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// wait returns the exit code.
func (l *lab) wait(c kernel.Container) int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e, err := l.Wait(ctx, c.Dir)
	if err != nil {
		l.t.Fatalf("wait: %v", err)
	}
	if age := time.Since(e.Finished); age < 0 || age > time.Minute {
		l.t.Errorf("finished at %v", e.Finished)
	}
	return e.Code
}

// log returns what the container wrote to a stream, or to both ("").
func (l *lab) log(c kernel.Container, stream string) string {
	l.t.Helper()
	var b strings.Builder
	err := process.Logs(l.t.Context(), c.Log, catenet.LogOptions{Tail: -1}, nil, func(s string, _ time.Time, line []byte) error {
		if stream == "" || s == stream {
			b.Write(line)
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return b.String()
}

// run runs c to its end and returns what it wrote, trimmed.
func (l *lab) run(c kernel.Container) string {
	l.t.Helper()
	l.start(c)
	if code := l.wait(c); code != 0 {
		l.t.Errorf("exit code %d; it wrote:\n%s", code, l.log(c, ""))
	}
	return strings.TrimSpace(l.log(c, "stdout"))
}

// ready waits until the container has written the word "ready".
func (l *lab) ready(c kernel.Container) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	err := process.Logs(ctx, c.Log, catenet.LogOptions{Follow: true, Tail: -1}, nil, func(_ string, _ time.Time, line []byte) error {
		if string(line) == "ready\n" {
			return errReady
		}
		return nil
	})
	if !errors.Is(err, errReady) {
		l.t.Fatalf("not ready: %v", err)
	}
}

var errReady = errors.New("ready")

// file makes a file of the test's.
func (l *lab) file(name, content string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// rootfs makes a root file system with nothing but busybox in it.
func (l *lab) rootfs() string {
	l.t.Helper()
	dir := l.t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), box, 0o755); err != nil {
		l.t.Fatal(err)
	}
	return dir
}
