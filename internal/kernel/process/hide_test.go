package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// pinned makes a network namespace at path, with one end of a veth in it
// whose other end is the link "sentry" of host: it goes when the namespace
// does.
func pinned(t *testing.T, host *kerneltest.NS, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := kerneltest.New(t)
	host.Run("ip", "link", "add", "sentry", "type", "veth", "peer", "name", "inside", "netns", other.Path)
	if err := unix.Mount(other.Path, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(other.Path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	// kerneltest unmounts it once more when the test ends.
	t.Cleanup(func() {
		if err := unix.Mount("/proc/thread-self/ns/net", other.Path, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
		}
	})
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
