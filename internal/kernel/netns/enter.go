package netns

import (
	"fmt"
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

// onThread runs fn, which may change the namespace of its thread, and brings
// the thread home, however fn ends. A goroutine of its own for fn would wake
// another thread, which makes a tenth of an attach.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer func() {
		if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
			strand(err)
		}
		unix.Close(home)
		runtime.UnlockOSThread()
	}()
	return fn()
}

// strand ends the program, whose thread cannot be brought home (the kernel has
// no memory for that): whatever this goroutine did next it would do in the
// wrong namespace. The next start puts right what was in the making.
func strand(err error) {
	go panic(fmt.Sprintf("a thread is stranded in a foreign network namespace: %v", err)) // nobody recovers from this
	select {}
}
