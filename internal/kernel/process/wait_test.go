package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/process"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, tt := range []struct {
		script string
		code   int
	}{
		{"exit 0", 0}, {"exit 7", 7}, {"exit 255", 255},
		// A signal that PID 1 sends to itself is ignored, as PID 1's are.
		{"kill -KILL $$; exit 9", 9},
	} {
		c := l.sh(tt.script)
		l.start(c)
		if code := l.wait(c); code != tt.code {
			t.Errorf("%s: %d, want %d", tt.script, code, tt.code)
		}
	}
	c := l.sh("sleep 60")
	l.start(c)
	if err := l.Signal(t.Context(), c.Dir, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := l.wait(c); code != 137 {
		t.Errorf("killed: %d", code)
	}
}

func TestManyWait(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	l.start(c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.Wait(ctx, c.Dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait given up: %v", err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if e, err := l.Wait(t.Context(), c.Dir); e.Code != 137 || err != nil {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
	if err := l.Signal(t.Context(), c.Dir, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// TestAFolderThatIsRemoved takes nothing from who waits for the container, and
// from who ends it.
func TestAFolderThatIsRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	pid, err := l.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := l.Wait(t.Context(), c.Dir); ended <- err }()
	for { // until it waits
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := l.Wait(ctx, c.Dir)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Signal(t.Context(), c.Dir, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !catenet.IsNotFound(err) {
		t.Errorf("how it ended: %v, which nobody can know", err)
	}
	if alive(pid) {
		t.Errorf("process %d is left", pid)
	}
}

// startAndHang is the body of a process that a test kills: a daemon.
func startAndHang(shim, container string) {
	var c kernel.Container
	err := json.Unmarshal([]byte(container), &c)
	if err == nil {
		_, err = process.New(process.Options{Shim: shim}).Start(context.Background(), c)
	}
	fmt.Println("started:", err)
	time.Sleep(time.Hour)
}

func TestContainerOutlivesItsDaemon(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	go1 := l.dir + "/go"
	c := l.sh("echo before; while [ ! -e " + go1 + " ]; do sleep 0.01; done; echo after; echo wrong >&2; exit 42")
	arg, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(exe, "start-and-hang", shimPath, string(arg))
	daemon.Stderr = t.Output()
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := out.Read(said)
	if string(said[:n]) != "started: <nil>\n" {
		t.Errorf("the daemon said %q, %v", said[:n], err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	daemon.Wait()

	if l.running(c.Dir) == 0 {
		t.Fatal("it does not run any more")
	}
	if code, err := l.Exec(t.Context(), kernel.Exec{Dir: c.Dir, Args: []string{"/bin/busybox", "true"}}); code != 0 || err != nil {
		t.Errorf("exec by another daemon: %d, %v", code, err)
	}
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := l.wait(c); code != 42 {
		t.Errorf("exit code %d", code)
	}
	if out, wrong := l.log(c, "stdout"), l.log(c, "stderr"); out != "before\nafter\n" || wrong != "wrong\n" {
		t.Errorf("log: %q, %q", out, wrong)
	}
}

func TestContainerDiesWithItsShim(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// The second has changed its user, which frees it of PR_SET_PDEATHSIG.
	for _, script := range []string{"echo ready; sleep 60", "exec /usr/bin/setpriv --reuid=65534 --clear-groups busybox sh -c 'echo ready; sleep 60'"} {
		c := l.sh(script)
		pid := l.start(c)
		l.ready(c)
		rec, err := rundir.ReadRecord(c.Dir)
		if err != nil || rec.Init.PID != pid {
			t.Fatalf("record: %+v, %v", rec, err)
		}
		if err := syscall.Kill(rec.Shim.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := l.wait(c); code != 137 {
			t.Errorf("exit code %d", code)
		}
		if alive(pid) {
			t.Errorf("the program lives")
		}
		if pid := l.running(c.Dir); pid != 0 {
			t.Errorf("running: %d", pid)
		}
	}
}

func TestShimIsSmallAndStaysOutside(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh(`i=0; while [ $i -lt 20000 ]; do echo "line $i of some length"; i=$((i+1)); done; echo ready; sleep 60`)
	l.start(c)
	l.ready(c)
	rec, err := rundir.ReadRecord(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", rec.Shim.PID)
	var rss int
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &rss)
	}
	t.Logf("the shim's RSS: %d kB", rss)
	if rss == 0 || rss > 8<<10 {
		t.Errorf("the shim's RSS is %d kB", rss)
	}
	for _, ns := range []string{"net", "mnt", "pid", "uts", "ipc"} {
		its, err := os.Readlink(proc + "ns/" + ns)
		ours, _ := os.Readlink("/proc/thread-self/ns/" + ns)
		if its != ours || err != nil {
			t.Errorf("the shim is in %s, the host %s", its, ours)
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink(proc + "fd/" + fd.Name())
		if strings.HasPrefix(to, "net:") || strings.HasPrefix(to, "mnt:") {
			t.Errorf("the shim holds %s", to)
		}
	}
	if its, _ := os.Readlink(proc + "cwd"); its != "/" {
		t.Errorf("the shim stands in %s", its)
	}
}
