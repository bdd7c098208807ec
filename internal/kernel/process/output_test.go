package process_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

// TestLastOutputIsInTheLog of a program that fills its pipes and ends while
// the shim reads nothing.
func TestLastOutputIsInTheLog(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	lines := strings.Repeat("a line of the last output\n", 2000) // 52,000 bytes: a pipe takes 65,536
	file := l.file("lines", lines)
	c := l.sh("trap 'cat " + file + "; cat " + file + " >&2; exit 3' TERM; echo ready; while :; do sleep 0.02; done")
	pid := l.start(c)
	l.ready(c)
	rec, err := rundir.ReadRecord(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(rec.Shim.PID, sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	err = l.Signal(context.Background(), c.Dir, syscall.SIGTERM)
	for end := time.Now().Add(10 * time.Second); err == nil && alive(pid) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	signal(syscall.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	if code := l.wait(c); code != 3 {
		t.Errorf("exit code %d", code)
	}
	for stream, want := range map[string]string{"stdout": "ready\n" + lines, "stderr": lines} {
		if got := l.log(c, stream); got != want {
			t.Errorf("%s: %d bytes of %d are in the log", stream, len(got), len(want))
		}
	}
}
