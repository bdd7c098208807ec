package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// probe lays a veth of the test's own into a namespace: its outer end goes
// when the namespace does, and only then.
func (g *ground) probe(name, ns string) {
	g.T.Helper()
	g.a.MustRun("ip", "link", "add", name, "type", "veth", "peer", "name", "probe", "netns", ns)
}

// dead wants a namespace, its probe and its container to be gone by
// themselves.
func (g *ground) dead(probe, container string) {
	g.T.Helper()
	g.Eventually(soon, func() string {
		if r := g.a.Run("ip", "link", "show", probe); r.Code == 0 {
			return "the namespace lives on: its probe " + probe + " is there"
		}
		if out := g.a.Catenet("ps", "-a"); strings.Contains(out, container) {
			return out
		}
		for _, l := range strings.Split(g.a.MustRun("ip", "-br", "link"), "\n") {
			if strings.HasPrefix(l, "ctn") {
				return "link " + l
			}
		}
		return ""
	})
}

func TestAttachedProcessIsWatched(t *testing.T) {
	g := newGround(t)
	p := g.a.Start("unshare", "--net", "sleep", "600")
	own := strings.TrimSpace(g.a.MustRun("readlink", "/proc/self/ns/net"))
	g.Eventually(soon, func() string {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.Pid)); err != nil || ns == own {
			return "no namespace of its own yet"
		}
		return ""
	})
	g.a.Catenet("network", "create", "front")
	g.serve("db", "--network", "front")
	g.a.Catenet("attach", "--name", "guest", "--pid", fmt.Sprint(p.Pid), "--network", "front", "-p", "8080:80")
	g.probe("probe0", fmt.Sprint(p.Pid))

	// It can be entered by the place that it was given.
	g.answers(g.a, g.ns("guest"), "tcp", at(g.addr4("db"), 80), "db")
	if got := g.a.Exec("guest", "ip", "-br", "-4", "addr", "show", "eth0").Text(); !strings.Contains(got, g.addr4("guest").String()) {
		t.Errorf("guest has %q", got)
	}
	if got := g.a.Exec("guest", "dig", "+short", "@127.0.0.11", "db").Text(); got != g.addr4("db").String() {
		t.Errorf("in the attached namespace, db is %q", got)
	}
	if got := g.a.Exec("db", "dig", "+short", "guest").Text(); got != g.addr4("guest").String() {
		t.Errorf("guest is %q", got)
	}

	// Twice is once too often.
	g.a.Refused([]string{"guest"}, "attach", "--name", "twin", "--pid", fmt.Sprint(p.Pid), "--network", "front")

	g.a.Catenet("rm", "-f", "db")
	p.Signal(syscall.SIGKILL)
	g.dead("probe0", "guest")
	g.silent(g.out, "", "tcp", at(g.a.Addr4, 8080))
	g.idle("next", "-p", "8080:80")
}

func TestAttachedPathIsWatched(t *testing.T) {
	g := newGround(t)
	name := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", name)
	path := "/run/netns/" + name
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("attach", "--name", "hand", "--netns", path, "--network", "front", "--hostname", "byhand")
	g.probe("probe0", path)
	for file, want := range map[string]string{"resolv.conf": "nameserver 127.0.0.11", "hosts": "byhand"} {
		b, err := os.ReadFile(filepath.Join("/etc/netns", name, file))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("/etc/netns/%s/%s is %q (%v), want %s in it", name, file, b, err, want)
		}
	}
	g.a.MustRun("ip", "netns", "del", name)
	g.dead("probe0", "hand")
	if _, err := os.Stat(filepath.Join("/etc/netns", name)); !os.IsNotExist(err) {
		t.Errorf("/etc/netns/%s is left: %v", name, err)
	}
}

// TestFilesOfANamedNamespaceFollow joins and leaves networks, and looks at the
// files that ip netns exec shows. Who has them open sees the change.
func TestFilesOfANamedNamespaceFollow(t *testing.T) {
	g := newGround(t)
	name := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", name)
	defer g.a.MustRun("ip", "netns", "del", name)
	g.a.Catenet("network", "create", "--internal", "inner")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("attach", "--name", "hand", "--netns", "/run/netns/"+name, "--network", "inner", "--dns", "192.0.2.53")
	var open []*os.File
	for _, file := range []string{"hosts", "resolv.conf"} {
		f, err := os.Open(filepath.Join("/etc/netns", name, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	read := func() (both string) {
		for _, f := range open {
			b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
			if err != nil {
				t.Fatal(err)
			}
			both += string(b)
		}
		return both
	}
	before := read()
	if inner := g.addr4("hand").String() + "\t"; !strings.Contains(before, inner) || strings.Contains(before, "192.0.2.53") {
		t.Errorf("in an internal network alone:\n%s", before)
	}
	g.a.Catenet("network", "connect", "front", "hand")
	joined := read()
	ep := status(g.a, "hand").Endpoints[1]
	for _, want := range []string{ep.IPv4.Addr().String() + "\t", ep.IPv6.Addr().String() + "\t", "192.0.2.53"} {
		if !strings.Contains(joined, want) {
			t.Errorf("with front there is no %q in:\n%s", want, joined)
		}
	}
	g.a.Catenet("network", "disconnect", "front", "hand")
	if after := read(); after != before {
		t.Errorf("without front again:\n%s\nwant\n%s", after, before)
	}
	g.a.Catenet("detach", "hand")
}

func TestNamespaceDiesWhileTheDaemonIsDead(t *testing.T) {
	g := newGround(t)
	name := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", name)
	g.a.Catenet("attach", "--name", "hand", "--netns", "/run/netns/"+name, "-p", "8080:80")
	g.probe("probe0", "/run/netns/"+name)
	g.a.Kill()
	g.a.MustRun("ip", "netns", "del", name)
	g.a.Daemon()
	g.dead("probe0", "hand")
	g.idle("next", "-p", "8080:80")
}

func TestDetachLeavesTheNamespaceAsItWas(t *testing.T) {
	g := newGround(t)
	name := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", name)
	defer g.a.MustRun("ip", "netns", "del", name)
	path := "/run/netns/" + name
	state := func() string {
		in := func(args ...string) string {
			return g.a.MustRun("nsenter", append([]string{"--net=" + path, "--"}, args...)...)
		}
		return in("ip", "-br", "link", "show", "type", "veth") + in("ip", "route") + in("ip", "-6", "route") + in("nft", "list", "ruleset") + in("ss", "-Hltunp")
	}
	before := state()
	if err := os.MkdirAll(filepath.Join("/etc/netns", name), 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Join("/etc/netns", name))
	mine := filepath.Join("/etc/netns", name, "resolv.conf")
	if err := os.WriteFile(mine, []byte("nameserver 203.0.113.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("attach", "--name", "hand", "--netns", path, "--network", "front", "-p", "8080:80")
	if state() == before {
		t.Fatal("the attach changed nothing: this test proves nothing")
	}
	g.a.Catenet("detach", "hand")
	g.Eventually(soon, func() string {
		if after := state(); after != before {
			return "the namespace has:\n" + after
		}
		return ""
	})
	if b, err := os.ReadFile(mine); err != nil || string(b) != "nameserver 203.0.113.53\n" {
		t.Errorf("the user's own resolv.conf is %q (%v)", b, err)
	}
}

func TestContainersNamespaceDiesWithIt(t *testing.T) {
	g := newGround(t)
	g.idle("web")
	g.probe("probe0", g.ns("web"))
	g.a.Catenet("rm", "-f", "web")
	g.dead("probe0", "web")

	g.idle("own-end", "--rm")
	g.probe("probe1", g.ns("own-end"))
	g.a.MustRun("kill", "-KILL", fmt.Sprint(status(g.a, "own-end").InitPID))
	g.dead("probe1", "own-end")
}
