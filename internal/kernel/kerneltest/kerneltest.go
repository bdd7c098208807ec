// Package kerneltest gives tests network namespaces of their own, on the real
// kernel. Each test makes its hosts and containers here, and they are gone
// when it ends.
package kerneltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is a network namespace that lives as long as its test.
type NS struct {
	Path string // where it is pinned
	t    testing.TB
}

// New makes a namespace with lo up. The test must run as root.
func New(t testing.TB) *NS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root (sudo make test)")
	}
	ns := &NS{Path: filepath.Join(t.TempDir(), "ns"), t: t}
	if err := os.WriteFile(ns.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return unix.Mount("/proc/thread-self/ns/net", ns.Path, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(ns.Path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", ns.Path, err)
		}
	})
	ns.Run("ip", "link", "set", "lo", "up")
	return ns
}

// Do runs fn on a thread inside the namespace. Goroutines that fn starts run
// outside it; sockets that fn itself opens stay inside.
func (ns *NS) Do(fn func() error) error { return In(ns.Path, fn) }

// In is Do for any namespace, by its path.
func In(path string, fn func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns %s: %w", path, err)
		}
		return fn()
	})
}

// MustDo is Do, and ends the test on an error.
func (ns *NS) MustDo(fn func() error) {
	ns.t.Helper()
	if err := ns.Do(fn); err != nil {
		ns.t.Fatal(err)
	}
}

// Command prepares a command that will run inside the namespace, on the
// host's mounts and cgroups.
func (ns *NS) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + ns.Path, "--", name}, args...)...)
}

// Run runs a command inside and returns what it printed; if it fails, the
// test ends.
func (ns *NS) Run(name string, args ...string) string {
	ns.t.Helper()
	out, err := ns.Command(name, args...).CombinedOutput()
	if err != nil {
		ns.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Try runs a command inside and returns what it printed and whether it
// succeeded.
func (ns *NS) Try(name string, args ...string) (string, error) {
	out, err := ns.Command(name, args...).CombinedOutput()
	return string(out), err
}

// Connect joins two namespaces by a veth pair, with an address in CIDR form
// (or "") at either end.
func Connect(a *NS, aLink, aAddr string, b *NS, bLink, bAddr string) {
	a.t.Helper()
	a.Run("ip", "link", "add", aLink, "type", "veth", "peer", "name", bLink, "netns", b.Path)
	for _, end := range []struct {
		ns         *NS
		link, addr string
	}{{a, aLink, aAddr}, {b, bLink, bAddr}} {
		if end.addr != "" {
			end.ns.Run("ip", "addr", "add", end.addr, "dev", end.link, "nodad")
		}
		end.ns.Run("ip", "link", "set", end.link, "up")
	}
}

// onThread runs fn, which may change the namespace of its thread, and brings
// the thread home. One that stays away never reaches another goroutine, but
// the program's first thread would keep the namespace for good.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
