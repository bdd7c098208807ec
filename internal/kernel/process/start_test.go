package process_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

func TestProgramIsFirstProcessOfItsOwnNamespaces(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ns := kerneltest.New(t)
	ns.Run("ip", "link", "add", "inside0", "type", "veth", "peer", "name", "inside1")
	c := l.sh(`echo $$; hostname; ls -d /proc/[0-9]*; ls /sys/class/net; ls /dev/shm; ls -d /sys/fs/cgroup/*`)
	c.Netns = ns.Path
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		t.Fatal(err)
	}
	want := "1\nbox\n/proc/1\ninside0\ninside1\nlo\n" + strings.Join(cgroups, "\n")
	if got := l.run(c); got != want {
		t.Errorf("inside:\n%s\nwant:\n%s", got, want)
	}
}

func TestStateOfTheProcessIsClean(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// A descriptor that a careless parent of the daemon left open.
	if err := syscall.Dup3(2, 77, 0); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(77)
	// A signal that nohup(1) had it ignore.
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	got := l.run(l.container("busybox", "ls", "/proc/self/fd"))
	if want := "0\n1\n2\n3"; got != want { // 3 is the folder that ls reads
		t.Errorf("descriptors inside: %q, want %q", got, want)
	}
	got = l.run(l.container("/bin/busybox", "grep", "-E", "^(Sig(Blk|Ign|Cgt)|NSsid|NSpgid|Umask)", "/proc/self/status"))
	want := "Umask:\t0022\nNSpgid:\t1\nNSsid:\t1\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000"
	if got != want {
		t.Errorf("status inside:\n%s\nwant:\n%s", got, want)
	}
	got = l.run(l.container("busybox", "env"))
	if want := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=box\nHOME=/root"; got != want {
		t.Errorf("environment inside:\n%s", got)
	}
}

func TestEnvironmentAndWorkDir(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.container("sh", "-c", `echo $A,$B,$HOME,$PATH; pwd`)
	bin := t.TempDir()
	if err := os.Symlink("/bin/busybox", filepath.Join(bin, "sh")); err != nil {
		t.Fatal(err)
	}
	c.Env = []string{"A=1", "B=2", "A=3", "HOME=/h", "PATH=" + bin}
	c.WorkDir = "/usr"
	if got, want := l.run(c), "3,2,/h,"+bin+"\n/usr"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHostUTS(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c := l.sh(`hostname; echo $HOSTNAME`)
	c.HostUTS = true
	if got := l.run(c); got != host+"\n"+host {
		t.Errorf("host name inside: %q", got)
	}
	if now, _ := os.Hostname(); now != host {
		t.Errorf("the host's name has become %s", now)
	}
}

func TestFilesAreBoundOverTheHosts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	real := l.file("real", "the host's\n")
	link := filepath.Join(l.dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(l.dir, "dangling")
	if err := os.Symlink("nothing-yet", dangling); err != nil {
		t.Fatal(err)
	}
	hosts := l.file("hosts", "192.0.2.1 db\n")
	c := l.sh("cat /etc/hosts " + link + " " + dangling + "; echo ready; read x < /dev/stdin; while ! grep -q 192.0.2.2 /etc/hosts; do sleep 0.01; done; echo changed")
	c.Files = map[string]string{"/etc/hosts": hosts, link: hosts, dangling: hosts}
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	l.start(c)
	l.ready(c)
	l.file("hosts", "192.0.2.2 db\n") // in place: seen inside
	l.wait(c)
	if got, want := l.log(c, ""), strings.Repeat("192.0.2.1 db\n", 3)+"ready\nchanged\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for path, want := range map[string]string{"/etc/hosts": string(before), real: "the host's\n", dangling: ""} {
		if now, err := os.ReadFile(path); err != nil || string(now) != want {
			t.Errorf("%s on the host: %q, %v", path, now, err)
		}
	}
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := l.file("plain", "no script\n")
	script := l.file("script", "#!/no/such/interpreter\n")
	junk := l.file("junk", "\x01\x02")
	for _, path := range []string{script, junk} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set := func(c kernel.Container, f func(*kernel.Container)) kernel.Container { f(&c); return c }
	for _, tt := range []struct {
		name string
		c    kernel.Container
		kind catenet.Kind
		msg  string
		hint string
	}{
		{"no command", l.container(), catenet.KindInvalid, "no command", "--"},
		{"empty command", l.container(""), catenet.KindInvalid, "no command", ""},
		{"not in PATH", l.container("no-such-command"), catenet.KindNotFound, "command not found in the container: no-such-command", "/usr/bin"},
		{"no such path", l.container("/no/such"), catenet.KindNotFound, "command not found in the container: /no/such", "inside"},
		{"folder", l.container("/usr"), catenet.KindInvalid, "/usr can't be executed: it is a folder", ""},
		{"not executable", l.container(file), catenet.KindInvalid, "permission denied", "chmod"},
		{"no interpreter", l.container(script), catenet.KindNotFound, "the program that is to load it is not in the container", "static"},
		{"no program", l.container(junk), catenet.KindInvalid, "exec format error", "#!"},
		{"work dir", set(l.sh("true"), func(c *kernel.Container) { c.WorkDir = "/no/such" }), catenet.KindInvalid, "working directory /no/such", "leave it out"},
		{"rootfs missing", set(l.sh("true"), func(c *kernel.Container) { c.Rootfs = "/no/such" }), catenet.KindNotFound, "root file system /no/such does not exist", ""},
		{"rootfs a file", set(l.sh("true"), func(c *kernel.Container) { c.Rootfs = file }), catenet.KindInvalid, "is no folder", "unpack"},
		{"rootfs the host's", set(l.sh("true"), func(c *kernel.Container) { c.Rootfs = "/usr/.." }), catenet.KindInvalid, "the host's own", "leave it out"},
		{"rootfs relative", set(l.sh("true"), func(c *kernel.Container) { c.Rootfs = "root" }), catenet.KindInvalid, "no absolute path", "from /"},
		{"netns missing", set(l.sh("true"), func(c *kernel.Container) { c.Netns = "/no/such" }), catenet.KindNotFound, "network namespace /no/such", ""},
		{"netns a file", set(l.sh("true"), func(c *kernel.Container) { c.Netns = file }), catenet.KindInvalid, "is no network namespace", ""},
		{"file missing", set(l.sh("true"), func(c *kernel.Container) { c.Files = map[string]string{"/etc/hosts": "/no/such"} }), catenet.KindNotFound, "/no/such for /etc/hosts", ""},
		{"target's folder missing", set(l.sh("true"), func(c *kernel.Container) { c.Files = map[string]string{"/no/such/hosts": file} }), catenet.KindNotFound, "the host has no /no/such/hosts", "may be empty"},
		{"zero byte", l.container("/bin/busybox", "echo", "a\x00b"), catenet.KindInvalid, "zero byte", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.Start(t.Context(), tt.c)
			if err == nil {
				t.Fatal("it started")
			}
			if catenet.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.msg) || !strings.Contains(catenet.HintOf(err), tt.hint) {
				t.Errorf("%v: %v (%s)", catenet.KindOf(err), err, catenet.HintOf(err))
			}
			if pid := l.running(tt.c.Dir); pid != 0 {
				t.Errorf("running: %d", pid)
			}
			if _, err := l.Wait(t.Context(), tt.c.Dir); !catenet.IsNotFound(err) {
				t.Errorf("wait for what never started: %v", err)
			}
		})
	}
}

func TestStartAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh(`echo ready; trap 'exit 3' TERM; while :; do sleep 0.02; done`)
	for i := range 3 {
		pid, err := l.Start(t.Context(), c)
		if err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if running := l.running(c.Dir); running != pid {
			t.Errorf("running: %d, want %d", running, pid)
		}
		if _, err := l.Start(t.Context(), c); !catenet.IsConflict(err) {
			t.Errorf("started twice: %v", err)
		}
		// PID 1 has to have its trap: what it writes now is not yet enough.
		for code := -1; code != 3; {
			if err := l.Signal(t.Context(), c.Dir, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			e, err := l.Wait(ctx, c.Dir)
			cancel()
			if err == nil {
				code = e.Code
				if code != 3 {
					t.Fatalf("exit code %d", code)
				}
			}
		}
		if running := l.running(c.Dir); running != 0 {
			t.Errorf("running: %d after its end", running)
		}
	}
	if err := l.Signal(t.Context(), c.Dir, syscall.SIGTERM); err != nil {
		t.Errorf("signal to what has ended: %v", err)
	}
	if got := strings.Count(l.log(c, ""), "ready"); got != 3 {
		t.Errorf("the log has %d of 3 runs", got)
	}
}

func TestStartGivenUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh("sleep 60")
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := l.Start(ctx, c)
		cancel()
		if err == nil {
			l.start(kernel.Container{Dir: c.Dir + "x", Log: c.Log, Args: []string{"/bin/busybox", "true"}})
			if err := l.Signal(t.Context(), c.Dir, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			l.wait(c)
			continue
		}
		if ctx.Err() == nil || !strings.Contains(err.Error(), "deadline") {
			t.Errorf("given up: %v", err)
		}
		if pid := l.running(c.Dir); pid != 0 {
			t.Errorf("running: %d", pid)
		}
	}
}
