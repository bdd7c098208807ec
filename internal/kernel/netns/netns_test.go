package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
)

// pinned makes a namespace that goes with the test.
func pinned(t *testing.T, n *Namespaces, path string) *kernel.Namespace {
	t.Helper()
	if err := n.Create(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Unpin(context.Background(), path); err != nil {
			t.Error(err)
		}
	})
	return open(t, n, path)
}

func open(t *testing.T, n *Namespaces, path string) *kernel.Namespace {
	t.Helper()
	ns, err := n.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func TestCreateGivesAFreshNamespaceWithLoopbackUp(t *testing.T) {
	n, path := New(), filepath.Join(t.TempDir(), "run", "netns", "a")
	ns := pinned(t, n, path)
	host, err := n.Host()
	if err != nil {
		t.Fatal(err)
	}
	if ns.Inode == host || ns.Inode == 0 {
		t.Fatalf("inode %d, the host's is %d", ns.Inode, host)
	}
	err = Do(ns, func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		if len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
			return fmt.Errorf("links: %+v", links)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Create(t.Context(), path); !catenet.IsConflict(err) {
		t.Errorf("creating it twice: %v, want a conflict", err)
	}
}

func TestEveryThreadIsBackHome(t *testing.T) {
	n := New()
	ns := pinned(t, n, filepath.Join(t.TempDir(), "n", "a"))
	host, _ := n.Host()
	for range 100 {
		if err := Do(ns, func() error { return errors.New("x") }); err == nil {
			t.Fatal("Do swallowed an error")
		}
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if inode, err := inodeAt(task); err == nil && inode != host {
			t.Errorf("%s is in namespace %d", task, inode)
		}
	}
}

func TestUnpinLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	n, folder := New(), filepath.Join(dir, "netns")
	for _, name := range []string{"a", "b"} {
		if err := n.Create(t.Context(), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "a", "never", "b"} {
		if err := n.Unpin(t.Context(), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if m := mountsBelow(t, "/proc/self/mountinfo", dir); m != "" {
		t.Errorf("mounts left: %s", m)
	}
}

func mountsBelow(t *testing.T, mountinfo, dir string) string {
	t.Helper()
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, dir) {
			left = append(left, line)
		}
	}
	return strings.Join(left, "")
}

// A mount namespace cloned while a pin is there has a copy of it; a later pin
// does not get there, and the copy goes with the pin.
func TestPinsDoNotLeakIntoMountNamespaces(t *testing.T) {
	dir := t.TempDir()
	n := New()
	first, second := filepath.Join(dir, "netns", "a"), filepath.Join(dir, "netns", "b")
	if err := n.Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("unshare", "--mount", "--propagation", "slave", "sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	theirs := fmt.Sprintf("/proc/%d/mountinfo", other.Process.Pid)
	mine, _ := os.Readlink("/proc/self/ns/mnt")
	eventually(t, "a mount namespace of its own", func() bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", other.Process.Pid))
		return exe != mine
	})
	if !strings.Contains(mountsBelow(t, theirs, dir), first) {
		t.Fatal("the cloned mount namespace has no copy: this test tests nothing")
	}
	if err := n.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if m := mountsBelow(t, theirs, dir); strings.Contains(m, second) {
		t.Errorf("the second pin leaked:\n%s", m)
	}
	for _, path := range []string{first, second} {
		if err := n.Unpin(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if m := mountsBelow(t, theirs, dir); strings.Contains(m, first) {
		t.Errorf("the first pin's copy is still there:\n%s", m)
	}
}

func TestOpenTellsWhatIsNoNamespace(t *testing.T) {
	n, dir := New(), t.TempDir()
	plain, fifo, socket := filepath.Join(dir, "plain"), filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]catenet.Kind{
		plain:                    catenet.KindInvalid,
		socket:                   catenet.KindInvalid,
		fifo:                     catenet.KindInvalid,
		dir:                      catenet.KindInvalid,
		"/proc/self/ns/uts":      catenet.KindInvalid,
		"/proc/self/status":      catenet.KindInvalid,
		dir + "/none":            catenet.KindNotFound,
		plain + "/x":             catenet.KindNotFound,
		"/proc/999999999/ns/net": catenet.KindNotFound,
	} {
		if ns, err := n.Open(path); err == nil || catenet.KindOf(err) != want {
			t.Errorf("open %s: %v, %v; want %v", path, ns, err, want)
		}
	}
}

func TestPinIsTheSameNamespace(t *testing.T) {
	n, dir := New(), t.TempDir()
	a := pinned(t, n, filepath.Join(dir, "netns", "a"))
	path := filepath.Join(dir, "netns", "again")
	if err := n.Pin(t.Context(), a.Path, path); err != nil {
		t.Fatal(err)
	}
	defer n.Unpin(context.Background(), path)
	if b := open(t, n, path); a.Inode != b.Inode {
		t.Errorf("pinned %d, want %d", b.Inode, a.Inode)
	}
	if err := n.Pin(t.Context(), "/proc/self/ns/uts", filepath.Join(dir, "netns", "uts")); !catenet.IsInvalid(err) {
		t.Errorf("pinned what is no network namespace: %v", err)
	}
}

// watch starts Gone and returns how it ends.
func watch(ctx context.Context, n *Namespaces, target kernel.Target) <-chan error {
	gone := make(chan error, 1)
	go func() { gone <- n.Gone(ctx, target) }()
	return gone
}

func stillThere(t *testing.T, gone <-chan error) {
	t.Helper()
	select {
	case err := <-gone:
		t.Fatalf("gone too early: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func isGone(t *testing.T, gone <-chan error) {
	t.Helper()
	select {
	case err := <-gone:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("nobody noticed that it went")
	}
}

func TestGoneProcess(t *testing.T) {
	n := New()
	child := exec.Command("unshare", "--net", "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid, host := child.Process.Pid, uint64(0)
	host, _ = n.Host()
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	var inode uint64
	eventually(t, "a namespace of its own", func() bool {
		inode, _ = inodeAt(path)
		return inode != host && inode != 0
	})
	id, err := proc.Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	start := id.Start
	byPID := watch(t.Context(), n, kernel.Target{PID: pid, StartTime: start, Inode: inode})
	byPath := watch(t.Context(), n, kernel.Target{Path: path, Inode: inode})
	isGone(t, watch(t.Context(), n, kernel.Target{PID: pid, StartTime: start + 1, Inode: inode}))
	isGone(t, watch(t.Context(), n, kernel.Target{PID: pid, StartTime: start, Inode: inode + 1}))
	stillThere(t, byPID)
	stillThere(t, byPath)
	child.Process.Kill()
	child.Wait()
	isGone(t, byPID)
	isGone(t, byPath)
}

func TestGonePath(t *testing.T) {
	n := New()
	name := fmt.Sprintf("catenet-test-%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	path := "/run/netns/" + name
	ip("netns", "add", name)
	target := kernel.Target{Path: path, Inode: open(t, n, path).Inode}
	gone := watch(t.Context(), n, target)
	stillThere(t, gone)
	ip("netns", "del", name)
	isGone(t, gone)

	ip("netns", "add", name)
	defer ip("netns", "del", name)
	isGone(t, watch(t.Context(), n, target)) // another namespace by that name

	// Another one over it, and then a bare umount of that.
	target.Inode, _ = inodeAt(path)
	gone = watch(t.Context(), n, target)
	stillThere(t, gone)
	other := pinned(t, n, filepath.Join(t.TempDir(), "n", "b"))
	if err := unix.Mount(other.Path, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	isGone(t, gone)
	gone = watch(t.Context(), n, kernel.Target{Path: path, Inode: other.Inode})
	stillThere(t, gone)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	isGone(t, gone)
}

func TestGoneEndsWithItsContext(t *testing.T) {
	n := New()
	ns := pinned(t, n, filepath.Join(t.TempDir(), "n", "a"))
	self, _ := n.Host()
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		child.Process.Kill()
		child.Wait()
	}()
	before := runtime.NumGoroutine()
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		byPath := watch(ctx, n, kernel.Target{Path: ns.Path, Inode: ns.Inode})
		byPID := watch(ctx, n, kernel.Target{PID: child.Process.Pid, Inode: self})
		stillThere(t, byPath)
		stillThere(t, byPID)
		cancel()
		for _, c := range []<-chan error{byPath, byPID} {
			if err := <-c; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		}
	}
	eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
