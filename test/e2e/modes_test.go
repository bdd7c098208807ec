package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestModes(t *testing.T) {
	g := newGround(t)
	g.serve("web")
	run := func(mode string, command ...string) string {
		t.Helper()
		return g.a.Catenet(append([]string{"run", "--rm", "--network", mode, "--"}, command...)...)
	}
	if got := run("host", "readlink", "/proc/self/ns/net"); got != strings.TrimSpace(g.a.MustRun("readlink", "/proc/self/ns/net")) {
		t.Errorf("host mode runs in %s", got)
	}
	if got := run("none", "ls", "/sys/class/net"); got != "lo" {
		t.Errorf("none has links %q", got)
	}
	if got := run("none", "ping", "-c1", "-W1", "127.0.0.1"); !strings.Contains(got, " 0% packet loss") {
		t.Errorf("the loopback of none is down: %s", got)
	}
	if got := run("container:web", "ip", "-br", "-4", "addr", "show", "eth0"); !strings.Contains(got, g.addr4("web").String()) {
		t.Errorf("container:web has %q", got)
	}
	// The shared namespace is that of the files too.
	if a, b := run("container:web", "cat", "/etc/resolv.conf", "/etc/hosts"), g.a.Exec("web", "cat", "/etc/resolv.conf", "/etc/hosts").Text(); a != b {
		t.Errorf("container:web has other files than web:\n%s\n%s", a, b)
	}
	for _, ns := range []string{"mnt", "pid", "uts", "ipc", "net"} {
		own := g.a.Exec("web", "readlink", "/proc/self/ns/"+ns).Text()
		if outside := strings.TrimSpace(g.a.MustRun("readlink", "/proc/self/ns/"+ns)); own == outside || own == "" {
			t.Errorf("web's %s namespace is the host's: %s", ns, own)
		}
	}
	if got := g.a.Catenet("run", "--rm", "--", "sh", "-c", "echo $$"); got != "1" {
		t.Errorf("a container's first process is %s", got)
	}
	g.a.Refused([]string{"port"}, "run", "-d", "--network", "host", "-p", "80:80", "--", "sleep", "60")
	g.a.Refused([]string{"nosuch"}, "run", "-d", "--network", "container:nosuch", "--", "sleep", "60")
}

func TestRootfs(t *testing.T) {
	g := newGround(t)
	root := filepath.Join(g.Dir, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	got := g.a.Catenet("run", "--rm", "--rootfs", root, "--hostname", "boxed", "--env", "COLOUR=blue", "--",
		"/bin/busybox", "sh", "-c", "busybox ls /; busybox cat /etc/hostname; busybox cat /etc/resolv.conf; echo $COLOUR")
	for _, want := range []string{"boxed", "nameserver 127.0.0.11", "blue"} {
		if !strings.Contains(got, want) {
			t.Errorf("the container printed %q, which lacks %s", got, want)
		}
	}
	if strings.Contains(got, "home") {
		t.Errorf("the container sees the host's file system: %s", got)
	}
}

func TestExitCodesAndLogs(t *testing.T) {
	g := newGround(t)
	if r := g.a.Try("run", "--rm", "--", "sh", "-c", "echo to out; echo to err >&2; exit 7"); r.Code != 7 || r.Stdout != "to out\n" || !strings.Contains(r.Stderr, "to err") {
		t.Errorf("run exits %d, prints %q and %q", r.Code, r.Stdout, r.Stderr)
	}
	g.idle("web")
	if r := g.a.Exec("web", "sh", "-c", "exit 9"); r.Code != 9 {
		t.Errorf("exec exits %d", r.Code)
	}
	if r := g.a.TryFeed("across", "exec", "-i", "web", "--", "cat"); r.Stdout != "across" {
		t.Errorf("exec -i passed %q on", r.Stdout)
	}
	g.a.Refused([]string{"nosuchprogram"}, "run", "-d", "--name", "broken", "--", "nosuchprogram")
}
