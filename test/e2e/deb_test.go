package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet/test/guide"
	"github.com/catenet/catenet/test/lab"
)

// debian is what tools/root.sh makes.
const debian = "/var/cache/catenet-root"

// system is a Debian of its own, in the network namespace of a host: what is
// done in it stays in the lab's folder.
type system struct {
	*ground
	init int // its first process, as seen from here
}

// enter makes the namespaces: "$0" is a folder, "$1" the name of a cgroup, the
// rest is the first process. Only what belongs to its own network can be set in
// /proc/sys: the rest is the machine's.
const enter = `set -e
mkdir -p "$0/cgroup" "$0/upper" "$0/work" "$0/root"
mount -t cgroup2 cgroup2 "$0/cgroup"
mkdir "$0/cgroup/$1"
echo $$ >"$0/cgroup/$1/cgroup.procs"
shift
umount "$0/cgroup"
exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc sh -ec '
cd "$0"
mount -t overlay overlay -o lowerdir=` + debian + `,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
hostname lab
pivot_root . mnt
umount -l /mnt
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
' "$0" "$@"`

// boot starts one.
func (g *ground) boot(program ...string) *system {
	g.T.Helper()
	if _, err := os.Stat(debian + "/usr/bin/dpkg"); err != nil {
		g.T.Fatalf("there is no small Debian to boot: run make root\n%v", err)
	}
	dir, cgroup := filepath.Join(g.a.Dir, "debian"), g.Name("debian")
	if err := os.Mkdir(dir, 0o755); err != nil {
		g.T.Fatal(err)
	}
	g.T.Cleanup(func() { // when its processes have ended
		g.Eventually(soon, func() string {
			return g.a.Run("unshare", "--mount", "sh", "-c", `mount -t cgroup2 cgroup2 /mnt && find "/mnt/$0" -depth -type d -exec rmdir {} +`, cgroup).Text()
		})
	})
	p := g.a.Start("unshare", append([]string{"--mount", "sh", "-c", enter, dir, cgroup}, program...)...)
	g.T.Cleanup(func() { p.Signal(9) })
	s := &system{ground: g}
	g.Eventually(soon, func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.Pid, p.Pid))
		if err == nil {
			_, err = fmt.Sscan(string(b), &s.init)
		}
		var env []byte
		if err == nil {
			env, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.init))
		}
		if err != nil || !strings.HasPrefix(string(env), "container=lab") {
			return fmt.Sprint("it does not begin: ", err, p.Output())
		}
		return ""
	})
	return s
}

// try runs a command in it.
func (s *system) try(command string) lab.Result {
	return s.a.Run("nsenter", s.within("sh", "-c", command)...)
}

// within are nsenter's arguments for a command in it.
func (s *system) within(command ...string) []string {
	return append([]string{"--target", fmt.Sprint(s.init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, command...)
}

func (s *system) do(command string) string {
	s.T.Helper()
	r := s.try(command)
	if r.Code != 0 {
		s.T.Fatalf("%s: exit %d\n%s\n%s", command, r.Code, r.Text(), s.try("journalctl --no-pager -n 40 -u catenet").Text())
	}
	return strings.TrimSpace(r.Stdout)
}

// path is where a file of the system is from here.
func (s *system) path(file string) string { return fmt.Sprintf("/proc/%d/root%s", s.init, file) }

// traces lists what there is: files, but for what the system writes about
// itself, links, rules, and processes.
func (s *system) traces() string {
	s.T.Helper()
	return s.do(`find / -xdev \( -path /var/log -o -path /var/lib/dpkg -o -path /tmp \) -prune -o -print | sort
find /run \( -path /run/systemd -o -path /run/log -o -path /run/user \) -prune -o -print | sort
ip -o link | cut -d: -f2; ip route; ip -6 route
ps -eo comm= 2>/dev/null; cat /proc/[0-9]*/comm | grep -i catenet || true; ls /etc/netns 2>/dev/null || true`) +
		s.a.MustRun("nft", "list", "ruleset")
}

// packages builds the package twice: a later version has a daemon that says so.
func packages(t *testing.T) (first, second string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	must := func(cmd *exec.Cmd) {
		t.Helper()
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	must(exec.Command("sh", "-ec", `mkdir bin; ln -s "$1/packaging" .; cp "$2"/* bin; make -s -C "$1" man PAGES="$PWD/pages"`, "sh", root, lab.Binaries(t)))
	build := func(version string) string {
		must(exec.Command("go", "build", "-C", root, "-ldflags", "-s -w -X github.com/catenet/catenet.version="+version, "-o", filepath.Join(dir, "bin", "catenetd"), "./cmd/catenetd"))
		must(exec.Command("make", "-f", filepath.Join(root, "Makefile"), "--old-file=build", "--old-file=man", "deb", "VERSION="+version, "PAGES="+filepath.Join(dir, "pages")))
		made, err := filepath.Glob(filepath.Join(dir, "bin", "catenet_"+version[1:]+"_*.deb"))
		if err != nil || len(made) != 1 {
			t.Fatalf("make deb made %v, %v", made, err)
		}
		return made[0]
	}
	return build("v1.0.0"), build("v1.1.0")
}

// install hands dpkg a package.
func (s *system) install(deb string) {
	s.T.Helper()
	s.a.MustRun("cp", deb, s.path("/tmp"))
	s.do("dpkg -i /tmp/" + filepath.Base(deb))
}

// version is what the daemon says that it is.
func (s *system) version() string {
	return s.try("catenet info --format '{{.Version.Version}}'").Text()
}

// becomes waits for the daemon of a version.
func (s *system) becomes(version string) {
	s.T.Helper()
	s.Eventually(soon, func() string {
		if got := s.version(); got != version {
			return "the daemon's version is " + got + "\n" + s.try("journalctl --no-pager -n 30 -u catenet").Text()
		}
		return ""
	})
}

// join attaches two namespaces, and returns where they are from here.
func (s *system) join() (a, b string) {
	s.T.Helper()
	s.do("catenet network create front")
	for _, n := range []string{"a", "b"} {
		s.do("ip netns add " + n + " && catenet attach --name " + n + " --netns /run/netns/" + n + " --network front -p 8080")
	}
	return s.path("/run/netns/a"), s.path("/run/netns/b")
}

// underTraffic does something while a asks for b's name and pings b, and wants
// nothing to be lost.
func (s *system) underTraffic(t *testing.T, ns string, do func()) {
	t.Helper()
	addr := s.do("catenet inspect --format '{{range .Endpoints}}{{.IPv4.Addr}}{{end}}' b")
	var l load
	for _, proto := range []string{"udp", "tcp"} {
		l.lookups(ns, proto, "b", true)
		l.lookups(ns, proto, "b", false)
	}
	l.requests(t, s.path("/run/catenet/catenet.sock"))
	ping := s.a.Ping(ns, addr, 60)
	s.Eventually(soon, func() string {
		if ping.Answered() == 0 {
			return "b does not answer"
		}
		return ""
	})
	do()
	l.more(s.ground)
	l.stop(t)
	if sent, lost := ping.Stop(); lost > 0 || sent < 100 {
		t.Errorf("of %d packets %d are lost", sent, lost)
	}
}

// TestDebianPackage installs the package, upgrades it while there is traffic,
// and purges it.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	first, second := packages(t)
	t.Run("lintian", func(t *testing.T) {
		t.Parallel()
		// The lab's programs are not stripped.
		cmd := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", "unstripped-binary-or-object", first)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("with systemd", func(t *testing.T) { packageWithSystemd(t, first, second) })
	t.Run("without", func(t *testing.T) { packageWithout(t, first, second) })
	t.Run("over make install", func(t *testing.T) { packageOver(t, first) })
}

func packageWithSystemd(t *testing.T, first, second string) {
	t.Parallel()
	lb := lab.New(t)
	s := (&ground{lb, lb.Host("a"), nil}).boot("/sbin/init")
	s.Eventually(soon, func() string {
		if got := s.try("systemctl is-system-running").Text(); got != "running" && got != "degraded" {
			return "systemd is " + got
		}
		return ""
	})
	before := s.traces()

	s.install(first)
	if got := s.do("systemctl is-active catenet; systemctl is-enabled catenet"); got != "active\nenabled" {
		t.Errorf("the unit is %s", got)
	}
	s.becomes("v1.0.0")
	a, _ := s.join()
	pid := s.do("systemctl show -P MainPID catenet")
	calls := s.callPlugin()
	s.underTraffic(t, a, func() {
		s.install(second)
		s.becomes("v1.1.0")
	})
	s.do("touch /tmp/enough")
	if got := calls.Wait(); got != "" {
		t.Errorf("calls of the CNI plugin say %s", got)
	}
	if got := s.do("systemctl show -P MainPID catenet"); got != pid {
		t.Errorf("process %s has become %s: it was started anew", pid, got)
	}

	// Removed, it leaves its records and nothing else; they count again later.
	s.do("dpkg --remove catenet")
	if got := s.a.MustRun("nft", "list", "ruleset") + s.do("ip -o link | grep -E 'br-|ctn' || true; ls /run"); strings.Contains(got, "catenet") || strings.Contains(got, "ctn") {
		t.Errorf("removed, it leaves\n%s", got)
	}
	s.install(second)
	if got := s.do("catenet network ls --filter name=front -q; systemctl is-enabled catenet"); !strings.HasSuffix(got, "\nenabled") {
		t.Errorf("installed again, it has %q", got)
	}
	s.do("systemctl disable --now catenet")
	s.install(first)
	if got := s.try("systemctl is-active catenet; systemctl is-enabled catenet").Text(); got != "inactive\ndisabled" {
		t.Errorf("disabled by hand, after an upgrade it is %s", got)
	}
	s.do("systemctl start catenet; ip netns del a; ip netns del b; umount /run/netns; rmdir /run/netns; dpkg --purge catenet")
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(s.traces(), "\n")); diff != "" {
		t.Errorf("purged, it leaves (+)\n%s", diff)
	}
	s.followPage(first, second)
}

// callPlugin has a container come and go until there is /tmp/enough.
func (s *system) callPlugin() *lab.Process {
	s.T.Helper()
	p := s.a.Start("nsenter", s.within("sh", "-c", `ip netns add cni
until [ -e /tmp/enough ]; do
	for command in ADD DEL; do
		echo '{"cniVersion":"1.1.0","name":"x","type":"catenet","network":"front"}' |
			CNI_COMMAND=$command CNI_CONTAINERID=x CNI_NETNS=/run/netns/cni CNI_IFNAME=eth0 CNI_PATH=/ /usr/lib/cni/catenet >/tmp/said || cat /tmp/said
	done
	touch /tmp/called
done
ip netns del cni`)...)
	s.Eventually(soon, func() string { return s.try("test -e /tmp/called || echo the plugin is not called").Text() })
	return p
}

// packageOver: an earlier make install goes before the package, which says so; the
// plugin that was called while nobody ran any more leaves nothing.
func packageOver(t *testing.T, deb string) {
	t.Parallel()
	lb := lab.New(t)
	s := (&ground{lb, lb.Host("a"), nil}).boot("/bin/sleep", "infinity")
	mk := installer(t)
	mk("man")
	mk(built, written, "install", "DESTDIR="+s.path(""))
	s.a.MustRun("cp", deb, s.path("/tmp"))
	if got := s.do("dpkg -i /tmp/*.deb 2>&1"); !strings.Contains(got, "/usr/local/bin/catenetd, of an earlier make install") {
		t.Errorf("dpkg says %s", got)
	}
	mk("uninstall", "DESTDIR="+s.path(""))
	if got := s.do("dpkg -i /tmp/*.deb 2>&1; catenet --version >/dev/null; ls /usr/lib/cni/catenet"); strings.Contains(got, "make install") {
		t.Errorf("dpkg says %s", got)
	}
	s.do(`echo '{"cniVersion":"1.1.0","name":"x"}' | CNI_COMMAND=DEL CNI_CONTAINERID=x CNI_IFNAME=eth0 CNI_PATH=/ /usr/lib/cni/catenet; ls /run/catenet/calls/*.call`)
	s.do("dpkg --purge catenet")
	for line := range strings.Lines(s.traces()) {
		if strings.Contains(line, "catenet") {
			t.Errorf("purged, it leaves %s", line)
		}
	}
}

// followPage does what docs/guide/install.md says.
func (s *system) followPage(debs ...string) {
	s.T.Helper()
	page, err := os.ReadFile("../../docs/guide/install.md")
	if err != nil {
		s.T.Fatal(err)
	}
	steps, err := guide.Steps(strings.ReplaceAll(string(page), "```debian", "```console"))
	if err != nil || len(steps) == 0 {
		s.T.Fatalf("the page has %d commands, %v", len(steps), err)
	}
	for _, deb := range debs {
		s.a.MustRun("cp", deb, s.path("/tmp"))
	}
	for _, step := range steps {
		r := s.try("cd /tmp; { " + strings.ReplaceAll(step.Command, "amd64", runtime.GOARCH) + "; } 2>&1")
		refused := len(step.Want) > 0 && strings.Contains(step.Want[0], "cannot access")
		if !step.Matches(r.Stdout) || (r.Code != 0) != refused {
			s.T.Fatalf("install.md:%d: %s: exit %d\n%s", step.Line, step.Command, r.Code, r.Text())
		}
	}
}

// packageWithout: whoever starts the daemon, an upgrade hands
// over to the new one, and a removal ends it.
func packageWithout(t *testing.T, first, second string) {
	t.Parallel()
	lb := lab.New(t)
	s := (&ground{lb, lb.Host("a"), nil}).boot("/bin/sleep", "infinity")
	before := s.traces()
	s.install(first)
	if got := s.try("catenet info").Text(); !strings.Contains(got, "is catenetd running?") {
		t.Errorf("nobody has started it, and it says %s", got)
	}
	s.do("dpkg --purge catenet") // before it has ever run
	s.install(first)
	s.a.Start("nsenter", s.within("catenetd")...)
	s.becomes("v1.0.0")
	a, _ := s.join()
	s.underTraffic(t, a, func() {
		s.install(second)
		s.becomes("v1.1.0")
	})
	s.do("dpkg --purge catenet; ip netns del a; ip netns del b; umount /run/netns; rmdir /run/netns")
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(s.traces(), "\n")); diff != "" {
		t.Errorf("purged, it leaves (+)\n%s", diff)
	}
}
