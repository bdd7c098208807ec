package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIdentity(t *testing.T) {
	me, err := Identify(os.Getpid())
	if err != nil || me.Start == 0 {
		t.Fatalf("%+v, %v", me, err)
	}
	fd, err := me.Open()
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	for _, other := range []Identity{{}, {PID: me.PID, Start: me.Start - 1}, {PID: 1<<22 + 1}} {
		if fd, err := other.Open(); !errors.Is(err, ErrGone) {
			t.Errorf("%+v: %d, %v", other, fd, err)
		}
	}
}

func TestAwait(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(ctx context.Context) chan error {
		id, err := Identify(child.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := id.Open()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- Await(ctx, fd) }()
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	given, waited := await(ctx), await(t.Context())
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	select {
	case err := <-waited:
		t.Errorf("it lives, and Await returned %v", err)
	default:
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	child.Wait()
}

func TestMounts(t *testing.T) {
	table := `22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda rw
short
23 22 0:22 /a\134b /sys/a\040b rw - cgroup2 cgroup2 rw,nsdelegate
24 22 0:22 / /cut rw
`
	want := []Mount{{"22", "/", "/", "ext4", "1"}, {"23", `/a\b`, "/sys/a b", "cgroup2", ""}}
	if got := slices.Collect(Mounts(table)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range Mounts(table) {
		break
	}
}
