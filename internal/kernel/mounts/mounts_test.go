package mounts

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
)

// box is a process in a mount namespace of its own, a shell that does what it
// is told; it ends with the test.
type box struct {
	t   *testing.T
	in  *os.File
	out *bufio.Scanner
	kernel.Target
}

func start(t *testing.T, command ...string) *box {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	b := &box{t: t, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	b.do("true") // it has its namespace by then
	id, err := proc.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	b.Target = kernel.Target{PID: id.PID, StartTime: id.Start}
	return b
}

// do returns what a command prints.
func (b *box) do(command string) string {
	b.t.Helper()
	if _, err := b.in.WriteString("{ " + command + "; } 2>&1; echo; echo end\n"); err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for b.out.Scan() {
		if b.out.Text() == "end" {
			return strings.TrimSpace(strings.Join(lines, "\n"))
		}
		lines = append(lines, b.out.Text())
	}
	b.t.Fatalf("%s: the shell has ended", command)
	return ""
}

// rootfs makes the root of a container, with what is in it: files, and
// symbolic links where the content begins with "->".
func rootfs(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		at := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if to, is := strings.CutPrefix(content, "->"); is && err == nil {
			err = os.Symlink(to, at)
		} else if err == nil {
			err = os.WriteFile(at, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// ours is a file to lay.
func ours(t *testing.T, name string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(at, []byte("ours"), 0o644); err != nil {
		t.Fatal(err)
	}
	return at
}

func lay(t *testing.T, b *box, root, source string) bool {
	t.Helper()
	laid, err := New().Lay(context.Background(), b.Target, root, source)
	if err != nil {
		t.Fatal(err)
	}
	return laid
}

func TestLayAndLift(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"there":            {"etc/hosts": "theirs"},
		"absent":           {},
		"a link":           {"etc/hosts": "->../var/hosts", "var/hosts": "theirs"},
		"an absolute link": {"etc/hosts": "->/var/hosts", "var/hosts": "theirs"},
		"a dead link":      {"etc/hosts": "->../../run/a/b/hosts"},
		"a folder's link":  {"etc": "->/private/etc", "private/etc/hosts": "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, "unshare", "--mount", "sh")
			root, source := rootfs(t, files), ours(t, "hosts")
			for range 2 { // twice is once
				if !lay(t, b, root, source) {
					t.Fatal("it is not laid")
				}
			}
			at := seen(root)
			if got := b.do("cat " + at); got != "ours" {
				t.Errorf("inside it is %q", got)
			}
			if got := b.do("grep -c " + root + " /proc/self/mountinfo"); got != "1" {
				t.Errorf("%s mounts, want one", got)
			}
			if got, err := os.ReadFile(at); string(got) == "ours" {
				t.Errorf("outside it is ours too (%v)", err)
			}
			// What is written in place is seen.
			if err := os.WriteFile(source, []byte("next"), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := b.do("cat " + at); got != "next" {
				t.Errorf("then inside it is %q", got)
			}
			for range 2 {
				if err := New().Lift(context.Background(), b.Target, root, source); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := b.do("cat "+at), files[strings.TrimPrefix(at, root+"/")]; got != want {
				t.Errorf("after the lift inside it is %q, want %q", got, want)
			}
		})
	}
}

// seen is where a file of the root lies in the end.
func seen(root string) string {
	for _, at := range []string{"var/hosts", "run/a/b/hosts", "private/etc/hosts"} {
		if _, err := os.Stat(filepath.Join(root, at)); err == nil {
			return filepath.Join(root, at)
		}
	}
	return filepath.Join(root, "etc/hosts")
}

// TestNothingOutsideOfTheRoot: a link that climbs leads to a file of the root's.
func TestNothingOutsideOfTheRoot(t *testing.T) {
	t.Parallel()
	b := start(t, "unshare", "--mount", "sh")
	victim := ours(t, "victim")
	root := rootfs(t, map[string]string{"etc/hosts": "->" + strings.Repeat("../", 20) + victim})
	lay(t, b, root, ours(t, "hosts"))
	if got := b.do("cat " + root + victim); got != "ours" {
		t.Errorf("in the root it is %q", got)
	}
	if got := b.do("grep -c ' " + victim + " ' /proc/self/mountinfo"); got != "0" {
		t.Errorf("%s mounts over a file outside", got)
	}
}

func TestRootIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	root := rootfs(t, map[string]string{"etc/hosts": "theirs", "old/x": ""})
	if out, err := exec.Command("install", "-D", "/bin/busybox", root+"/bin/busybox").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := start(t, "unshare", "--mount", "busybox", "sh")
	source := ours(t, "hosts")
	b.do("mount --rbind " + root + " " + root + " && cd " + root)
	lay(t, b, root, source)
	if got := b.do("busybox pivot_root . old && cd / && /bin/busybox umount -l /old; /bin/busybox cat /etc/hosts"); got != "ours" {
		t.Fatalf("in its root it is %q", got)
	}
	if err := New().Lift(context.Background(), b.Target, root, source); err != nil {
		t.Fatal(err)
	}
	if got := b.do("/bin/busybox cat /etc/hosts"); got != "theirs" {
		t.Errorf("after the lift it is %q", got)
	}
}

func TestSomebodyElsesMountStays(t *testing.T) {
	t.Parallel()
	b := start(t, "unshare", "--mount", "sh")
	root, theirs := rootfs(t, map[string]string{"etc/hosts": "below"}), rootfs(t, map[string]string{"f": "theirs"})
	b.do("mount --bind " + theirs + "/f " + root + "/etc/hosts")
	source := ours(t, "hosts")
	if lay(t, b, root, source) {
		t.Error("it is laid over somebody else's mount")
	}
	if err := New().Lift(context.Background(), b.Target, root, source); err != nil {
		t.Fatal(err)
	}
	if got := b.do("cat " + root + "/etc/hosts"); got != "theirs" {
		t.Errorf("it is %q", got)
	}
}

// TestNothingOnTheHost: where a mount is shared with the host nothing is laid; one
// that has peers elsewhere, or gets what the host has, is as good as any.
func TestNothingOnTheHost(t *testing.T) {
	t.Parallel()
	shared := rootfs(t, nil)
	t.Cleanup(func() { unix.Unmount(shared, unix.MNT_DETACH) })
	for _, flags := range []uintptr{unix.MS_BIND, unix.MS_SHARED} {
		if err := unix.Mount(shared, shared, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	root, source := filepath.Join(shared, "root"), ours(t, "hosts")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	b := start(t, "unshare", "--mount", "--propagation", "unchanged", "sh")
	laid, err := New().Lay(context.Background(), b.Target, root, source)
	if laid || !catenet.IsConflict(err) || !strings.Contains(err.Error(), "etc/hosts") || catenet.HintOf(err) == "" {
		t.Errorf("shared with the host: %v, %v", laid, err)
	}
	// A shared mount of the container's own is one that has left the host's peers.
	for _, of := range []string{"slave", "shared"} {
		b.do("mount --make-" + of + " " + shared)
	}
	if !lay(t, b, root, source) {
		t.Error("it is not laid")
	}
	if got := b.do("cat " + root + "/etc/hosts"); got != "ours" {
		t.Errorf("inside it is %q", got)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), root) {
		t.Errorf("on the host (%v):\n%s", err, table)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	source := ours(t, "hosts")
	root := rootfs(t, map[string]string{"etc": "a file"})
	own := start(t, "sh")
	if _, err := New().Lay(context.Background(), own.Target, root, source); catenet.KindOf(err) != catenet.KindInvalid {
		t.Errorf("over the host's own files: %v", err)
	}
	b := start(t, "unshare", "--mount", "sh")
	if _, err := New().Lay(context.Background(), b.Target, root, source); !catenet.IsConflict(err) || catenet.HintOf(err) == "" {
		t.Errorf("where no file can be made: %v", err)
	}
	if _, err := New().Lay(context.Background(), b.Target, root+"/nothing", source); !catenet.IsConflict(err) {
		t.Errorf("where no root is: %v", err)
	}
	other := b.Target
	other.StartTime++ // a process that had its number before
	if _, err := New().Lay(context.Background(), other, root, source); !catenet.IsNotFound(err) {
		t.Errorf("in a process that is another one by now: %v", err)
	}
	if err := New().Lift(context.Background(), other, root, source); err != nil {
		t.Errorf("from a process that has ended: %v", err)
	}
}
