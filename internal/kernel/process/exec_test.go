package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// exec runs e and returns what it wrote.
func (l *lab) exec(e kernel.Exec) (stdout, stderr string, code int) {
	l.t.Helper()
	var out, errOut bytes.Buffer
	e.Stdout, e.Stderr = &out, &errOut
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	code, err := l.Exec(ctx, e)
	if err != nil {
		l.t.Fatalf("exec %q: %v; %s", e.Args, err, errOut.String())
	}
	return out.String(), errOut.String(), code
}

func TestExec(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ns := kerneltest.New(t)
	ns.Run("ip", "link", "add", "inside0", "type", "veth", "peer", "name", "inside1")
	c := l.sh("echo mine >/dev/shm/mark; echo ready; sleep 60")
	c.Netns = ns.Path
	l.start(c)
	l.ready(c)
	in := func(script string) kernel.Exec {
		return kernel.Exec{Dir: c.Dir, Args: []string{"/bin/busybox", "sh", "-c", script}}
	}
	out, errOut, code := l.exec(in(`ls /sys/class/net; hostname; cat /dev/shm/mark; echo $HOSTNAME; echo wrong >&2; exit 5`))
	if want := "inside0\ninside1\nlo\nbox\nmine\nbox\n"; out != want || errOut != "wrong\n" || code != 5 {
		t.Errorf("%d: %q, %q", code, out, errOut)
	}
	for _, ns := range []string{"mnt", "pid", "uts", "ipc", "net"} {
		out, _, _ := l.exec(in("readlink /proc/1/ns/" + ns + "; readlink /proc/self/ns/" + ns))
		if words := strings.Fields(out); len(words) != 2 || words[0] != words[1] {
			t.Errorf("namespaces: %q", out)
		}
	}
	if _, _, code := l.exec(in("kill -TERM $$")); code != 143 {
		t.Errorf("ended by SIGTERM: %d", code)
	}
	e := in("cat; echo $A")
	e.Stdin, e.Env = strings.NewReader(strings.Repeat("x", 1<<20)), []string{"A=b"}
	if out, _, code := l.exec(e); len(out) != 1<<20+2 || code != 0 {
		t.Errorf("%d: %d bytes of output", code, len(out))
	}
	// 1 MB at once at the end, and a reader that is slow at first.
	slow := in("dd if=/dev/zero bs=1M count=1 2>/dev/null")
	var n slowCount
	slow.Stdout = &n
	if code, err := l.Exec(t.Context(), slow); code != 0 || err != nil || n != 1<<20 {
		t.Errorf("%d, %v: %d bytes", code, err, n)
	}
	// One in the background holds the output open, and is not waited for.
	begin := time.Now()
	if out, _, _ := l.exec(in("sleep 30 & echo done")); out != "done\n" || time.Since(begin) > 5*time.Second {
		t.Errorf("%q after %v", out, time.Since(begin))
	}
	if out, _, _ := l.exec(kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "ls", "/proc/self/fd"}}); out != "0\n1\n2\n3\n" {
		t.Errorf("descriptors inside: %q", out)
	}
}

// slowCount counts bytes and takes its time.
type slowCount int

func (n *slowCount) Write(b []byte) (int, error) {
	if *n < 100<<10 {
		time.Sleep(20 * time.Millisecond)
	}
	*n += slowCount(len(b))
	return len(b), nil
}

func TestExecGivenUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	l.start(c)
	mark := fmt.Sprint(3000 + os.Getpid())
	stuck, w := io.Pipe() // standard input that never comes
	defer w.Close()
	for _, patience := range []time.Duration{time.Millisecond, 200 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := l.Exec(ctx, kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "sleep", mark}, Stdin: stuck, Stdout: io.Discard})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
	}
	if out, _, _ := l.exec(kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "ps"}}); strings.Contains(out, mark) {
		t.Errorf("it runs still:\n%s", out)
	}
}

func TestExecFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	l.start(c)
	ended := l.sh("true")
	l.run(ended)
	for _, tt := range []struct {
		name string
		e    kernel.Exec
		kind catenet.Kind
		msg  string
	}{
		{"no command", kernel.Exec{Dir: c.Dir}, catenet.KindInvalid, "no command"},
		{"not found", kernel.Exec{Dir: c.Dir, Args: []string{"no-such"}}, catenet.KindNotFound, "command not found in the container: no-such"},
		{"ended", kernel.Exec{Dir: ended.Dir, Args: []string{"true"}}, catenet.KindConflict, "not running"},
		{"never started", kernel.Exec{Dir: t.TempDir(), Args: []string{"true"}}, catenet.KindConflict, "not running"},
		{"no namespace", kernel.Exec{Netns: "/no/such", Args: []string{"true"}}, catenet.KindNotFound, "/no/such"},
		{"a file", kernel.Exec{Netns: l.file("plain", ""), Args: []string{"true"}}, catenet.KindInvalid, "no network namespace"},
		{"nowhere", kernel.Exec{Args: []string{"true"}}, catenet.KindInternal, "neither"},
	} {
		if _, err := l.Exec(t.Context(), tt.e); err == nil || catenet.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.msg) {
			t.Errorf("%s: %v: %v", tt.name, catenet.KindOf(err), err)
		}
	}
}

func TestExecEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	l.start(c)
	time.AfterFunc(200*time.Millisecond, func() { l.Signal(context.Background(), c.Dir, syscall.SIGKILL) })
	if _, _, code := l.exec(kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "sleep", "60"}}); code != 137 {
		t.Errorf("exit code %d", code)
	}
	if code := l.wait(c); code != 137 {
		t.Errorf("the container's exit code %d", code)
	}
}

func TestExecInABareNamespace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ns := kerneltest.New(t)
	etc := filepath.Join(t.TempDir(), "etc")
	script := []string{"/bin/busybox", "sh", "-c", "cat /etc/resolv.conf; ls /sys/class/net; ls -d /sys/fs/cgroup"}
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, _, code := l.exec(kernel.Exec{Netns: ns.Path, Etc: etc, Args: script})
	if want := string(host) + "lo\n/sys/fs/cgroup\n"; out != want || code != 0 {
		t.Errorf("%d: %q, want %q", code, out, want)
	}
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("nameserver 127.0.0.11\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, code = l.exec(kernel.Exec{Netns: ns.Path, Etc: etc, Args: script})
	if want := "nameserver 127.0.0.11\nlo\n/sys/fs/cgroup\n"; out != want || code != 0 {
		t.Errorf("%d: %q, want %q", code, out, want)
	}
	if now, _ := os.ReadFile("/etc/resolv.conf"); string(now) != string(host) {
		t.Errorf("the host's file: %q", now)
	}
}
