package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet/api/apitest"
)

// patient is an engine whose containers take no notice of being asked to end.
type patient struct {
	*apitest.Engine
	asked chan time.Duration
}

func (p patient) Stop(ctx context.Context, ref string, grace time.Duration) error {
	p.asked <- grace
	return nil
}

// up closes when something is written.
type up struct {
	bytes.Buffer
	done chan struct{}
}

func (u *up) Write(b []byte) (int, error) {
	if u.Len() == 0 {
		close(u.done)
	}
	return u.Buffer.Write(b)
}

// TestASecondSignalEndsAtOnce what was only asked to end by the first.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	e := apitest.New()
	defer e.Close()
	p := patient{e, make(chan time.Duration, 1)}
	host, _ := apitest.Serve(t, p)
	out, errOut := up{done: make(chan struct{})}, bytes.Buffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"-H", host, "run", "--name", "deaf", "--", "sh", "-c", "echo up; exec sleep 60"}, nil, &out, &errOut)
	}()
	select {
	case <-out.done:
	case code := <-ended:
		t.Fatalf("exit code %d at once: %s", code, &errOut)
	}
	for i, want := range []time.Duration{grace, 0, 0} {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if got := <-p.asked; got != want {
			t.Errorf("signal %d gives %v to end, want %v", i+1, got, want)
		}
	}
	if err := e.Remove(t.Context(), "deaf", true); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code == 0 || strings.TrimSpace(out.String()) != "up" {
		t.Errorf("exit code %d, output %q, %q", code, &out.Buffer, &errOut)
	}
}
