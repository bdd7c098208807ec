package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// Do runs fn on a thread inside the namespace and returns its error.
// Goroutines that fn starts run outside; sockets that fn opens stay inside.
func Do(ns *kernel.Namespace, fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.File.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", ns.Path, err)
		}
		return fn()
	})
}

// onThread runs fn, which may change its thread's namespace, on a thread of
// its own. A thread that cannot be brought home ends with its goroutine (see
// runtime.LockOSThread), so that nobody else ever runs in the wrong place.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(own)
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own namespace: %w", err)
			return
		}
		// A panic in fn is a bug that ends the daemon; the thread with it.
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
		done <- err
	}()
	return <-done
}
