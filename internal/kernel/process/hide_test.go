package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// ownMounts gives the test a mount namespace of its own, so that containers
// of other tests, which would have copies of its pins, don't matter. The
// test's goroutine must start what is to see it.
func ownMounts(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
}

// pinned makes a network namespace at path, with one end of a veth in it
// whose other end is the link "sentry" of host: it goes when the namespace
// does.
func pinned(t *testing.T, host *kerneltest.NS, path string) {
	t.Helper()
	before, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	err = os.WriteFile(path, nil, 0o600)
	if err == nil {
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err == nil {
		err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	}
	if err := errors.Join(err, unix.Setns(int(before.Fd()), unix.CLONE_NEWNET)); err != nil {
		t.Fatal(err)
	}
	host.Run("ip", "link", "add", "sentry", "type", "veth", "peer", "name", "inside", "netns", path)
}

// As on a host with systemd, where all mounts are shared.
func TestNoMountLeaksOut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ns := kerneltest.New(t)
	ownMounts(t)
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := unix.Mount(folder, folder, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	mounts := func() []string {
		b, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(b), "\n")
	}
	before := mounts()
	host, own := l.sh("echo ready; sleep 60"), l.sh("echo ready; busybox sleep 60")
	own.Rootfs = l.rootfs()
	for _, c := range []kernel.Container{host, own} {
		c.Netns, c.Hide = ns.Path, []string{folder}
		c.Files = map[string]string{"/etc/hosts": l.file("hosts", "x")}
		l.start(c)
		l.ready(c)
		l.exec(kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "true"}})
	}
	l.exec(kernel.Exec{Netns: ns.Path, Args: []string{"busybox", "true"}})
	after := mounts()
	for _, m := range after {
		if !slices.Contains(before, m) {
			t.Errorf("mounted outside: %s", m)
		}
	}
	for _, m := range before { // pins of other tests come and go
		if !slices.Contains(after, m) && (strings.Contains(m, folder) || !strings.Contains(m, " /tmp/")) {
			t.Errorf("unmounted outside: %s", m)
		}
	}
	if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

func hasSentry(host *kerneltest.NS) bool {
	out, err := host.Try("ip", "link", "show", "sentry")
	return err == nil && strings.Contains(out, "sentry")
}

func TestContainerKeepsNoOtherNamespaceAlive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// before the pin is made, on the folder of pins
		flags []uintptr
		hide  bool
		gone  bool
	}{
		{"private folder, hidden", []uintptr{unix.MS_BIND, unix.MS_PRIVATE}, true, true},
		{"unbindable folder, hidden", []uintptr{unix.MS_BIND, unix.MS_UNBINDABLE}, true, true},
		{"no mount of its own, hidden", nil, true, true},
		{"shared folder, not hidden", []uintptr{unix.MS_BIND, unix.MS_SHARED}, false, true},
		// That the test can fail: this is what hiding is for.
		{"private folder, not hidden", []uintptr{unix.MS_BIND, unix.MS_PRIVATE}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			host := kerneltest.New(t)
			ownMounts(t)
			folder := filepath.Join(t.TempDir(), "a folder")
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			for i, flag := range tt.flags {
				source := map[int]string{0: folder}[i]
				if err := unix.Mount(source, folder, "", flag, ""); err != nil {
					t.Fatal(err)
				}
			}
			if tt.flags != nil {
				t.Cleanup(func() {
					if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
						t.Error(err)
					}
				})
			}
			pin := filepath.Join(folder, "pin")
			pinned(t, host, pin)
			c := l.container("/bin/busybox", "sh", "-c", "ls '"+folder+"'; echo ready; sleep 60")
			if tt.hide {
				c.Hide = []string{folder, "/no/such/folder"}
			}
			l.start(c)
			l.ready(c)
			if seen := strings.HasPrefix(l.log(c, ""), "pin"); seen == tt.hide {
				t.Errorf("seen inside: %v", seen)
			}
			if !hasSentry(host) {
				t.Fatal("the namespace is gone before it is unpinned")
			}
			if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			gone := false
			for end := time.Now().Add(time.Second); !gone && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				gone = !hasSentry(host)
			}
			if gone != tt.gone {
				t.Errorf("the namespace gone: %v, want %v", gone, tt.gone)
			}
		})
	}
}

func TestNamespaceEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	host := kerneltest.New(t)
	ownMounts(t)
	pin := filepath.Join(t.TempDir(), "pin")
	pinned(t, host, pin)
	c := l.sh("echo ready; sleep 60")
	c.Netns = pin
	l.start(c)
	l.ready(c)
	if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if !hasSentry(host) {
		t.Error("the namespace ended before the container")
	}
	if err := l.Signal(t.Context(), c.Dir, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.wait(c)
	for end := time.Now().Add(5 * time.Second); hasSentry(host); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the namespace outlives the container")
		}
	}
}
