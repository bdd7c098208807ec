package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

func TestRootfsOfBusyboxAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ns := kerneltest.New(t)
	c := l.container("/bin/busybox", "sh", "-c", `
set -e
busybox ls /
echo $$ $(busybox hostname)
busybox cat /etc/resolv.conf /etc/made/for/it
busybox ls /sys/class/net
echo x >/dev/null; busybox head -c 4 /dev/zero | busybox wc -c; busybox test -c /dev/tty; echo in >/dev/shm/x; echo out >/dev/stdout
busybox ls -d /proc/[0-9]*
busybox mkdir /sys/x 2>/dev/null || echo /sys is read-only
busybox grep -c . /proc/self/mountinfo
busybox grep / /proc/self/mountinfo >/dev/stderr`)
	c.Rootfs, c.Netns = l.rootfs(), ns.Path
	c.Files = map[string]string{"/etc/resolv.conf": l.file("resolv", "nameserver 127.0.0.11\n"), "/etc/made/for/it": l.file("made", "made\n")}
	want := `bin
dev
etc
proc
sys
1 box
nameserver 127.0.0.11
made
lo
4
out
/proc/1
/sys is read-only
`
	got := l.run(c)
	if !strings.HasPrefix(got, want) {
		t.Errorf("inside:\n%s\nwant:\n%s", got, want)
	}
	// Nothing of the host's tree is mounted any more: only what was asked for.
	var points []string
	for line := range strings.Lines(l.log(c, "stderr")) {
		points = append(points, strings.Fields(line)[4])
	}
	slices.Sort(points)
	if want := "/ /dev /dev/mqueue /dev/pts /dev/shm /etc/made/for/it /etc/resolv.conf /proc /sys"; strings.Join(points, " ") != want {
		t.Errorf("mounted inside: %v, want %s", points, want)
	}
}

func TestRootfsLinksLeadNowhereElse(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	outside := t.TempDir()
	root := l.rootfs()
	victim := l.file("victim", "the host's\n")
	for link, to := range map[string]string{
		"etc": outside, // absolute: /tmp/… inside is not /tmp/… outside
		"dev": strings.Repeat("../", 20) + outside,
		"up":  strings.Repeat("../", 20) + victim,
		"run": "/proc/1/root",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := l.container("/bin/busybox", "cat", "/etc/hosts", "/up")
	c.Rootfs = root
	c.Files = map[string]string{"/etc/hosts": l.file("hosts", "bound\n"), "/up": l.file("hosts2", "bound too\n")}
	// The folders that the links mean inside the root are made there, or the
	// start is refused; nothing may happen outside.
	if _, err := l.Start(t.Context(), c); err == nil {
		l.wait(c)
		if got := l.log(c, "stdout"); got != "bound\nbound too\n" {
			t.Errorf("inside: %q", got)
		}
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 0 {
		t.Errorf("made outside: %v, %v", left, err)
	}
	if now, err := os.ReadFile(victim); err != nil || string(now) != "the host's\n" {
		t.Errorf("the host's file: %q, %v", now, err)
	}
	c.Files = map[string]string{"/run/etc/hosts": l.file("hosts3", "x")}
	if _, err := l.Start(t.Context(), c); err == nil {
		t.Error("a link of /proc was followed")
	}
}

func TestRootfsDanglingResolvConf(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	root := l.rootfs()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As in the root file systems of distributions with systemd-resolved.
	if err := os.Symlink("../run/systemd/resolve/stub-resolv.conf", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	c := l.container("busybox", "cat", "/etc/resolv.conf")
	c.Rootfs = root
	c.Files = map[string]string{"/etc/resolv.conf": l.file("resolv", "bound\n")}
	if got := l.run(c); got != "bound" {
		t.Errorf("inside: %q", got)
	}
}

func TestExecInRootfs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.container("busybox", "sleep", "60")
	c.Rootfs = l.rootfs()
	l.start(c)
	out, _, code := l.exec(kernel.Exec{Dir: c.Dir, Args: []string{"busybox", "sh", "-c", "busybox ls /; busybox hostname; busybox head -c 14 /proc/1/cmdline; pwd"}})
	if want := "bin\ndev\nproc\nsys\nbox\nbusybox\x00sleep\x00/\n"; out != want || code != 0 {
		t.Errorf("%d: %q, want %q", code, out, want)
	}
}
