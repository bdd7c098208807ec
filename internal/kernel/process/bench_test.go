package process_test

import (
	"syscall"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/process"
)

// BenchmarkStart is a start as its caller sees it; the end is not counted.
func BenchmarkStart(b *testing.B) {
	r := process.New(process.Options{Shim: shimPath})
	defer r.Close()
	dir := b.TempDir()
	c := kernel.Container{Dir: dir, Log: dir + "/log", Hostname: "box", Args: []string{"/bin/busybox", "sleep", "60"}}
	for b.Loop() {
		if _, err := r.Start(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := r.Signal(b.Context(), c.Dir, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Wait(b.Context(), c.Dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkExec(b *testing.B) {
	r := process.New(process.Options{Shim: shimPath})
	defer r.Close()
	dir := b.TempDir()
	c := kernel.Container{Dir: dir, Log: dir + "/log", Hostname: "box", Args: []string{"/bin/busybox", "sleep", "60"}}
	if _, err := r.Start(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if code, err := r.Exec(b.Context(), kernel.Exec{Dir: dir, Args: []string{"/bin/busybox", "true"}}); code != 0 || err != nil {
			b.Fatal(code, err)
		}
	}
	if err := r.Signal(b.Context(), c.Dir, syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
	if _, err := r.Wait(b.Context(), c.Dir); err != nil {
		b.Fatal(err)
	}
}
