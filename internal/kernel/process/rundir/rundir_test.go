package rundir

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel/proc"
)

func TestLockIsInherited(t *testing.T) {
	dir := t.TempDir()
	held := func(want bool) {
		t.Helper()
		if got, err := Held(dir); got != want || err != nil {
			t.Fatalf("held: %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	if err := AwaitStart(dir); err != nil {
		t.Fatal(err)
	}
	f, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	held(true)
	if _, err := Lock(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{f}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() { waited <- AwaitStart(dir) }()
	select {
	case err := <-waited:
		t.Fatalf("the start is under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := Started(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	held(true) // by the child
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	held(false)
}

func TestFilesTravel(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadRecord(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	r := Record{Shim: proc.Identity{PID: 1, Start: 2}, Init: proc.Identity{PID: 3, Start: 1<<64 - 1}}
	e := Exit{Code: 137, Finished: time.Now().UTC()}
	if err := errors.Join(WriteRecord(dir, r), WriteExit(dir, e)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadRecord(dir); got != r || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ReadExit(dir); got.Code != e.Code || !got.Finished.Equal(e.Finished) || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, junk := range []string{"", "x y z w", "1 2", "1 2 3 4 5"} {
		if err := os.WriteFile(pidPath(dir), []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRecord(dir); err == nil {
			t.Errorf("read %q", junk)
		}
	}
	if err := errors.Join(Clear(dir), Clear(dir)); err != nil {
		t.Error(err)
	}
	if _, err := ReadExit(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cleared: %v", err)
	}
}
