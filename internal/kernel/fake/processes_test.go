package fake

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

func TestProcesses(t *testing.T) {
	ctx, f := t.Context(), NewProcesses()
	c := kernel.Container{Dir: "/run/c", Args: []string{"httpd", "-f"}}
	if _, err := f.Wait(ctx, c.Dir); !catenet.IsNotFound(err) {
		t.Errorf("wait for nothing: %v", err)
	}
	no := errors.New("no")
	f.OnStart = func(kernel.Container) error { return no }
	if _, err := f.Start(ctx, c); !errors.Is(err, no) {
		t.Errorf("refused: %v", err)
	}
	f.OnStart = nil
	pid, err := f.Start(ctx, c)
	if running, _ := f.Running(c.Dir); err != nil || pid != 101 || running != pid {
		t.Errorf("%d, %d, %v", pid, running, err)
	}
	if _, err := f.Start(ctx, c); !catenet.IsConflict(err) {
		t.Errorf("twice: %v", err)
	}
	if got := f.String(); got != "101 /run/c: httpd -f\n" {
		t.Errorf("%q", got)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Wait(gone, c.Dir); !errors.Is(err, context.Canceled) {
		t.Errorf("wait given up: %v", err)
	}
	f.OnExec = func(_ context.Context, e kernel.Exec) (int, error) { return len(e.Args), nil }
	if code, err := f.Exec(ctx, kernel.Exec{Dir: c.Dir, Args: []string{"a", "b"}}); code != 2 || err != nil {
		t.Errorf("exec: %d, %v", code, err)
	}
	f.Stubborn = true
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL} {
		if err := f.Signal(ctx, c.Dir, sig); err != nil {
			t.Error(err)
		}
	}
	if e, err := f.Wait(ctx, c.Dir); e.Code != 137 || e.Finished.IsZero() || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := f.Exec(ctx, kernel.Exec{Dir: c.Dir, Args: []string{"a"}}); !catenet.IsConflict(err) {
		t.Errorf("exec after the end: %v", err)
	}
	if _, err := f.Start(ctx, c); err != nil {
		t.Errorf("again: %v", err)
	}
	if !f.End(c.Dir, 3) || f.End(c.Dir, 4) {
		t.Error("ended never, or twice")
	}
	if e, _ := f.Wait(ctx, c.Dir); e.Code != 3 {
		t.Errorf("%+v", e)
	}
	if got, ok := f.Started(c.Dir); !ok || got.Dir != c.Dir || f.String() != "" {
		t.Errorf("%+v, %v, %q", got, ok, f.String())
	}
}
