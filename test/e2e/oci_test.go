package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// ociRuntimes are run without a manager. crun wants the cgroups as a machine
// has them whose only hierarchy is the unified one.
var ociRuntimes = map[string]string{
	"runc": `exec runc --root "$0" "$@"`,
	"crun": `exec unshare --mount sh -c '[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit; exec crun --cgroup-manager=disabled --root "$0" "$@"' "$0" "$@"`,
}

// bundle is a container of an OCI runtime that is yet to be made.
type bundle struct {
	*ground
	script string // of ociRuntimes
	dir    string
	id     string
}

// bundle makes one whose web server says its name on port 80.
func (g *ground) bundle(runtime, name string, annotations map[string]string, more ...string) *bundle {
	g.T.Helper()
	b := &bundle{g, ociRuntimes[runtime], filepath.Join(g.a.Dir, name), g.Name(name)}
	root := filepath.Join(b.dir, "rootfs")
	g.a.MustRun("sh", "-ec", `mkdir -p "$0/bin" "$0/etc"; cp /bin/busybox "$0/bin"; for n in sh httpd cat nslookup; do ln -sf busybox "$0/bin/$n"; done; echo "$1" >"$0/index.html"; cd "$0/.."; rm -f config.json; runc spec`, root, name)
	hook := func(stage string) []any {
		return []any{map[string]any{"path": filepath.Join(lab.Binaries(g.T), "catenet"),
			"args": []string{"catenet", "-H", "unix://" + g.a.Socket(), "oci-hook", stage}}}
	}
	created := hook("createRuntime")
	for _, script := range more {
		created = append(created, map[string]any{"path": "/bin/sh", "args": []string{"sh", "-c", script, b.dir}})
	}
	b.change(func(c map[string]any) {
		process := c["process"].(map[string]any)
		process["terminal"] = false
		process["args"] = []string{"httpd", "-f", "-p", "80", "-h", "/"}
		annotations["run.oci.hooks.stderr"] = "/dev/stderr" // crun would keep to itself what a hook says
		c["hostname"], c["annotations"] = "inside", annotations
		c["hooks"] = map[string]any{"createRuntime": created, "poststop": hook("poststop")}
	})
	return b
}

// change rewrites the bundle's config.json.
func (b *bundle) change(how func(config map[string]any)) {
	b.T.Helper()
	path := filepath.Join(b.dir, "config.json")
	text, err := os.ReadFile(path)
	var config map[string]any
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err == nil {
		how(config)
		text, err = json.Marshal(config)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		b.T.Fatal(err)
	}
}

// call calls the runtime. What it prints goes into a file: the container keeps
// its streams.
func (b *bundle) call(args ...string) lab.Result {
	b.T.Helper()
	log := filepath.Join(b.dir, "log")
	r := b.a.Run("sh", append([]string{"-c", "rm -f " + log + "; { " + b.script + "; } >>" + log + " 2>&1", filepath.Join(b.dir, "state")}, args...)...)
	text, err := os.ReadFile(log)
	if err != nil {
		b.T.Fatal(err)
	}
	r.Stdout = string(text)
	return r
}

func (b *bundle) must(args ...string) string {
	b.T.Helper()
	r := b.call(args...)
	if r.Code != 0 {
		b.T.Fatalf("%s: exit %d\n%s", strings.Join(args, " "), r.Code, r.Text())
	}
	return r.Stdout
}

// start starts the container, and ends it with the test at the latest.
func (b *bundle) start() {
	b.T.Helper()
	b.T.Cleanup(func() { b.call("delete", "--force", b.id) })
	b.must("run", "--detach", "--bundle", b.dir, b.id)
}

// exec runs a program in the container.
func (b *bundle) exec(args ...string) string {
	b.T.Helper()
	return strings.TrimSpace(b.must(append([]string{"exec", b.id}, args...)...))
}

// refused wants the container not to be created, and its user to be told why.
func (b *bundle) refused(words ...string) {
	b.T.Helper()
	r := b.call("run", "--detach", "--bundle", b.dir, b.id)
	if r.Code == 0 {
		b.T.Errorf("the container is created, want a word about %q", words)
		b.must("delete", "--force", b.id)
	}
	for _, w := range words {
		if !strings.Contains(r.Stdout, w) {
			b.T.Errorf("the runtime says %q, which lacks %q", r.Text(), w)
		}
	}
	if left := b.must("list", "-q"); left != "" {
		b.T.Errorf("the runtime still has %s", left)
	}
}

// hook calls a hook by hand, as the runtime does.
func (b *bundle) hook(stage, state string) {
	b.T.Helper()
	if r := b.a.TryFeed(state, "oci-hook", stage); r.Code != 0 {
		b.T.Errorf("oci-hook %s of %s: exit %d, %s", stage, state, r.Code, r.Text())
	}
}

// eachOCI runs a test with each runtime, on a host of its own.
func eachOCI(t *testing.T, test func(g *ground, runtime string)) {
	t.Parallel()
	for name := range ociRuntimes {
		t.Run(name, func(t *testing.T) { test(newGround(t), name) })
	}
}

func TestOCIContainer(t *testing.T) {
	eachOCI(t, func(g *ground, runtime string) {
		g.a.Catenet("network", "create", "--subnet", "10.1.0.0/24", "front")
		g.a.Catenet("network", "create", "--subnet", "10.2.0.0/24", "back")
		g.serve("db", "--network", "back")
		b := g.bundle(runtime, "web", map[string]string{
			"catenet.network": "front:ip=10.1.0.9,interface_name=lan0 back:alias=www", "catenet.publish": "8081:80 8082:80/tcp",
			"catenet.add-host": "printer:192.0.2.9", "somebody.else": "passed over",
		})
		b.start()
		if got := g.a.Catenet("ps", "--format", "{{.Owner}} {{.Name}}"); !strings.Contains(got, "oci "+b.id) {
			g.T.Errorf("ps shows %q", got)
		}
		sb := status(g.a, b.id)
		if sb.RuntimeID != b.id || sb.Hostname != "inside" || len(sb.Warnings) > 0 {
			g.T.Errorf("it is %+v", sb.Sandbox)
		}
		for _, port := range []string{"8081", "8082"} {
			g.Eventually(soon, func() string { // its server begins when the runtime has ended
				return strings.TrimPrefix(g.out.Run("curl", "-sS", "http://192.0.2.1:"+port+"/").Text(), "web")
			})
		}
		b.knows("lan0", "10.1.0.9")
		if got := g.a.Exec("db", "dig", "+short", "www").Text(); got != sb.Endpoints[1].IPv4.Addr().String() {
			g.T.Errorf("www is %q", got)
		}
		// The files follow.
		g.a.Catenet("network", "disconnect", "back", b.id)
		if got := b.exec("cat", "/etc/hosts"); strings.Contains(got, "10.2.0.") || !strings.Contains(got, "10.1.0.9\tinside") {
			g.T.Errorf("after it has left a network /etc/hosts is\n%s", got)
		}
		g.a.Kill()
		g.a.Daemon()
		g.a.Catenet("network", "connect", "back", b.id)
		b.knows("lan0", "10.1.0.9")
		// Detached, it has its own files, and none before, so empty ones.
		g.a.Catenet("detach", b.id)
		if got := b.exec("cat", "/etc/hosts", "/etc/resolv.conf"); got != "" {
			g.T.Errorf("detached, it has\n%s", got)
		}
		b.must("delete", "--force", b.id)
	})
}

// knows looks at the container from inside: its interface, its files, and the
// names of others.
func (b *bundle) knows(link, addr string) {
	b.T.Helper()
	if got := b.exec("/bin/busybox", "ip", "addr", "show", link); !strings.Contains(got, addr+"/24") {
		b.T.Errorf("%s is %s", link, got)
	}
	hosts := b.exec("cat", "/etc/hosts")
	for _, want := range []string{addr + "\tinside", "10.2.0.", "192.0.2.9\tprinter"} {
		if !strings.Contains(hosts, want) {
			b.T.Errorf("/etc/hosts has no %q:\n%s", want, hosts)
		}
	}
	if got := b.exec("nslookup", "-type=a", "db"); !strings.Contains(got, b.addr4("db").String()) {
		b.T.Errorf("inside, db is %s", got)
	}
}

// TestOCIContainerComesAndGoes: with its hooks, without them, and again by the
// same ID.
func TestOCIContainerComesAndGoes(t *testing.T) {
	eachOCI(t, func(g *ground, runtime string) {
		b := g.bundle(runtime, "web", map[string]string{"catenet.name": "web", "catenet.publish": "8081:80"})
		g.a.Catenet("network", "ls")
		for range 3 {
			b.start()
			b.must("delete", "--force", b.id)
			if got := g.a.Catenet("ps", "-aq"); got != "" { // poststop has been waited for
				g.T.Errorf("after its end there is %s", got)
			}
		}
		state := fmt.Sprintf(`{"ociVersion":"1.0.2","id":%q,"status":"stopped","bundle":%q}`, b.id, b.dir)
		b.hook("poststop", state) // once more
		b.hook("poststop", `{"ociVersion":"1.0.2","id":"never","status":"stopped","bundle":"/nowhere"}`)
		b.hook("createRuntime", `{"ociVersion":"1.0.2","id":"plain","status":"creating","pid":1,"bundle":"/nowhere","annotations":{"other":"x"}}`)
		// Without poststop the daemon notices the end by itself.
		b.change(func(c map[string]any) { delete(c["hooks"].(map[string]any), "poststop") })
		for range 3 {
			b.start()
			b.must("delete", "--force", b.id)
		}
		g.Eventually(soon, func() string { return g.a.Catenet("ps", "-aq") })
	})
}

func TestOCIContainerIsRefused(t *testing.T) {
	eachOCI(t, func(g *ground, runtime string) {
		for annotation, words := range map[[2]string][]string{
			{"catenet.network", "nosuch"}:      {"nosuch"},
			{"catenet.netwrok", "front"}:       {"unknown annotation catenet.netwrok", "network-alias"},
			{"catenet.ip", "10.0.0"}:           {"10.0.0"},
			{"catenet.publish", "80:80 x"}:     {"x"},
			{"catenet.publish-all", "perhaps"}: {"catenet.publish-all"},
			{"catenet.network", "host"}:        {"catenet.network", "host"},
		} {
			b := g.bundle(runtime, "web", map[string]string{annotation[0]: annotation[1]})
			b.refused(append(words, "catenet: ")...)
		}
		b := g.bundle(runtime, "web", map[string]string{"catenet.publish": "8081:80"})
		g.a.Kill()
		b.refused("cannot reach the daemon", "is catenetd running?")
		g.a.Daemon()
		if got := g.a.Catenet("ps", "-aq"); got != "" {
			g.T.Errorf("there is %s", got)
		}
		// A container that ends while the daemon is away.
		b.start()
		g.a.Kill()
		b.must("delete", "--force", b.id)
		g.a.Daemon()
		if got := g.a.Catenet("ps", "-aq"); got != "" {
			g.T.Errorf("a container that ended while no daemon ran is listed: %s", got)
		}
		g.idle("next", "-p", "8081:80")
	})
}

// TestOCIRuntimeIsKilled while it creates a container: what has been joined
// goes with the process. One that runs goes on.
func TestOCIRuntimeIsKilled(t *testing.T) {
	eachOCI(t, func(g *ground, runtime string) {
		b := g.bundle(runtime, "web", map[string]string{"catenet.name": "web"}, `echo $PPID $$ >"$0/pids.new"; mv "$0/pids.new" "$0/pids"; exec sleep 600`)
		g.a.Start("sh", "-c", b.script, filepath.Join(b.dir, "state"), "run", "--detach", "--bundle", b.dir, b.id)
		g.T.Cleanup(func() { b.call("delete", "--force", b.id) })
		var runtimePid, hookPid int
		g.Eventually(soon, func() string { // the second hook waits
			pids, err := os.ReadFile(filepath.Join(b.dir, "pids"))
			if err == nil {
				_, err = fmt.Sscan(string(pids), &runtimePid, &hookPid)
			}
			if err != nil {
				return err.Error()
			}
			return ""
		})
		if got := g.a.Catenet("ps", "--format", "{{.Name}}"); got != "web" {
			g.T.Errorf("while it is created there is %q", got)
		}
		for _, pid := range []int{runtimePid, hookPid} {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				g.T.Error(err)
			}
		}
		b.call("delete", "--force", b.id)
		g.Eventually(soon, func() string { return g.a.Catenet("ps", "-a", "--format", "{{.Name}}") })
		// A runtime that is killed leaves its container's cgroups.
		g.a.MustRun("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/"+b.id+"*", "-exec", "rmdir", "{}", "+")

		b = g.bundle(runtime, "other", map[string]string{"catenet.name": "other", "catenet.publish": "8081:80"})
		g.T.Cleanup(func() { b.call("delete", "--force", b.id) })
		p := g.a.Start("sh", "-c", b.script, filepath.Join(b.dir, "state"), "run", "--bundle", b.dir, b.id)
		g.Eventually(soon, func() string {
			return strings.TrimPrefix(g.out.Run("curl", "-sS", "http://192.0.2.1:8081/").Text(), "other")
		})
		p.Signal(syscall.SIGKILL)
		if got := g.out.MustRun("curl", "-sS", "http://192.0.2.1:8081/"); got != "other\n" {
			g.T.Errorf("without its runtime it says %q", got)
		}
		b.must("delete", "--force", b.id)
		if got := g.a.Catenet("ps", "-aq"); got != "" {
			g.T.Errorf("there is %s", got)
		}
	})
}

// TestOCISharedMounts: whatever is shared, nothing of ours is mounted on the host.
func TestOCISharedMounts(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	b := g.bundle("runc", "web", map[string]string{"catenet.network": "front"})
	g.a.MustRun("sh", "-ec", `mkdir "$0/etc"; for m in "$0" "$0/etc"; do mount --bind "$m" "$m"; mount --make-shared "$m"; done`, b.dir)
	t.Cleanup(func() { g.a.MustRun("umount", "--recursive", b.dir) })
	clean := func() {
		t.Helper()
		if got := g.a.MustRun("cat", "/proc/self/mountinfo"); strings.Contains(got, b.dir+"/rootfs/") || strings.Contains(got, b.dir+"/etc/") {
			t.Errorf("on the host is mounted\n%s", got)
		}
	}
	b.change(func(c map[string]any) { c["linux"].(map[string]any)["rootfsPropagation"] = "shared" })
	b.start()
	if got := b.exec("cat", "/etc/hosts"); !strings.Contains(got, "\tinside") {
		t.Errorf("/etc/hosts is\n%s", got)
	}
	clean()
	b.must("delete", "--force", b.id)
	b.change(func(c map[string]any) {
		c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/etc", "type": "bind", "source": filepath.Join(b.dir, "etc"), "options": []string{"rbind", "rshared"}})
	})
	b.refused("/etc/hosts", "shared with the host")
	clean()
}
