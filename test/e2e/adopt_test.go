package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/test/lab"
)

// dockerd starts a real one on a host that ends with the test, and returns what
// runs docker, and catenet as somebody does who has it at hand.
func dockerd(t *testing.T, l *lab.Lab, h *lab.Host) (docker, catenet func(args ...string) lab.Result) {
	t.Helper()
	dir := filepath.Join(h.Dir, "docker")
	host := "unix://" + filepath.Join(dir, "docker.sock")
	p := h.Start("dockerd", "--host", host, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--storage-driver", "vfs")
	t.Cleanup(func() { p.Signal(syscall.SIGTERM) }) // its containerd ends with it
	docker = func(args ...string) lab.Result { return h.Run("docker", append([]string{"-H", host}, args...)...) }
	l.Eventually(soon, func() string {
		if r := docker("version"); r.Code != 0 {
			return r.Text() + p.Output()
		}
		return ""
	})
	return docker, func(args ...string) lab.Result {
		return h.Run("env", append([]string{"DOCKER_HOST=" + host, "CATENET_HOST=" + h.Socket(), filepath.Join(lab.Binaries(t), "catenet")}, args...)...)
	}
}

// says wants a command to end with a code and its output to hold lines.
func says(t *testing.T, r lab.Result, code int, lines ...string) {
	t.Helper()
	if r.Code != code {
		t.Errorf("exit code %d, want %d", r.Code, code)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+r.Stdout+r.Stderr, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, r.Text())
		}
	}
}

func TestAdoptDocker(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	docker, run := dockerd(t, l, h)
	h.Daemon()
	for _, create := range []string{
		"--subnet 10.50.0.0/16 --gateway 10.50.0.9 --ip-range 10.50.128.0/17 --aux-address router=10.50.0.3 --label tier=1 -o com.docker.network.driver.mtu=1400 -o com.example.odd=1 front",
		"--internal --ipv6 --subnet fd00:50::/64 --subnet 10.51.0.0/16 back",
		"--config-only --subnet 10.52.0.0/16 settings",
		"--config-from settings made",
		"--subnet 10.53.0.0/16 clash",
		"--subnet 169.254.7.0/24 --label kept=1 odd",
	} {
		if r := docker(append([]string{"network", "create"}, strings.Fields(create)...)...); r.Code != 0 {
			t.Fatal(r.Text())
		}
	}
	h.Catenet("network", "create", "--subnet", "10.53.8.0/24", "ours")
	t.Cleanup(func() { docker("network", "prune", "-f") })
	h.MustRun("sh", "-c", `tar -c -C /bin busybox | docker -H unix://$0/docker/docker.sock import - busybox:local`, h.Dir)
	if r := docker("run", "-d", "--name", "guest", "--network", "clash", "busybox:local", "/busybox", "sleep", "600"); r.Code != 0 {
		t.Fatal(r.Text())
	}
	odd := docker("network", "inspect", "odd", "-f", "{{.ID}}").Stdout
	links := h.MustRun("ip", "-o", "link")
	before := docker("network", "ls", "-q").Stdout

	says(t, run("adopt", "--dry-run", "docker"), 1,
		"bridge: left out, every engine has its own",
		"  catenet adopt --replace docker removes it there when it makes it here",
		"settings: would be made: config-only, 10.52.0.0/16")
	says(t, run("adopt", "--dry-run", "--replace", "docker"), 1,
		"front: would be made: bridge, 10.50.0.0/16 via 10.50.0.9 range 10.50.128.0/17",
		"  option com.example.odd=1 has no like here: left out",
		"clash: cannot be made: containers are in it: guest")
	if got := h.MustRun("ip", "-o", "link"); got != links || docker("network", "ls", "-q").Stdout != before || len(strings.Fields(h.Catenet("network", "ls", "-q"))) != 4 {
		t.Errorf("a dry run has changed something: %s", got)
	}

	if r := docker("rm", "-f", "guest"); r.Code != 0 {
		t.Fatal(r.Text())
	}
	const overlaps = `clash: cannot be made: subnet 10.53.0.0/16 overlaps 10.53.8.0/24 of network "ours"`
	says(t, run("adopt", "--dry-run", "--replace", "docker"), 1, overlaps)
	says(t, run("adopt", "--replace", "docker"), 1, overlaps, "made: made, and removed there: bridge, 10.52.0.0/16")
	if got := docker("network", "ls", "--format", "{{.Name}} {{.Driver}}").Stdout; got != "bridge bridge\nclash bridge\nhost host\nnone null\nodd bridge\nsettings null\n" {
		t.Errorf("docker has\n%s\nand should have what could not be made", got)
	}
	// That no address of it can be used was found out when it was gone there.
	if got := docker("network", "inspect", "odd", "-f", "{{(index .IPAM.Config 0).Subnet}} {{.Labels}} {{.ID}}").Stdout; !strings.HasPrefix(got, "169.254.7.0/24 map[kept:1] ") || strings.Contains(got, odd) {
		t.Errorf("what could not be made is there again as %s", got)
	}
	front := pool("10.50.0.0/16", "10.50.0.9")
	front.Range, front.Aux = netip.MustParsePrefix("10.50.128.0/17"), map[string]netip.Addr{"router": netip.MustParseAddr("10.50.0.3")}
	adopted(t, h,
		catenet.NetworkSpec{Name: "front", Driver: "bridge", Pools: []catenet.Pool{front}, Labels: map[string]string{"tier": "1"}, Options: map[string]string{catenet.OptionMTU: "1400"}},
		catenet.NetworkSpec{Name: "back", Driver: "bridge", Pools: []catenet.Pool{pool("10.51.0.0/16", "10.51.0.1"), pool("fd00:50::/64", "fd00:50::1")}, IPv6: true, Internal: true},
		catenet.NetworkSpec{Name: "made", Driver: "bridge", Pools: []catenet.Pool{pool("10.52.0.0/16", "10.52.0.1")}},
		catenet.NetworkSpec{Name: "settings", Driver: "null", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.52.0.0/16")}}, ConfigOnly: true})
	h.Catenet("network", "rm", "ours")
	docker("network", "rm", "odd")
	says(t, run("adopt", "--replace", "docker"), 0, "settings: exists already", "clash: made, and removed there: bridge, 10.53.0.0/16")
	// Somebody is in one of them, by the new gateway.
	h.Catenet("run", "-d", "--name", "web", "--network", "front", "--", "sleep", "600")
	if r := h.Exec("web", "ping", "-c1", "-W5", "10.50.0.9"); r.Code != 0 {
		t.Error(r.Text())
	}
}

func pool(subnet, gateway string) catenet.Pool {
	return catenet.Pool{Subnet: netip.MustParsePrefix(subnet), Gateway: netip.MustParseAddr(gateway)}
}

// adopted wants networks to be as they were where they come from.
func adopted(t *testing.T, h *lab.Host, want ...catenet.NetworkSpec) {
	t.Helper()
	cl, err := client.New(h.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, w := range want {
		got, err := cl.Network(t.Context(), w.Name)
		if d := cmp.Diff(w, got.NetworkSpec, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got)\n%s", w.Name, err, d)
		}
	}
}

// TestAdoptSaysWhatToDo where it can do nothing.
func TestAdoptSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Daemon()
	run := func(env string, args ...string) lab.Result {
		return h.Run("env", append([]string{env, "CATENET_HOST=" + h.Socket(), filepath.Join(lab.Binaries(t), "catenet"), "adopt"}, args...)...)
	}
	nobody := "unix://" + filepath.Join(h.Dir, "nobody.sock")
	says(t, run("DOCKER_HOST="+nobody, "docker"), 1,
		"  start it (systemctl start docker): it alone tells its networks. DOCKER_HOST names another socket")
	says(t, run("DOCKER_HOST=unix://"+h.Socket(), "docker"), 1, "catenet: DOCKER_HOST names catenet itself")
	says(t, run("DOCKER_HOST=tcp://192.0.2.1:2375", "docker"), 1, "catenet: dockerd at tcp://192.0.2.1:2375 is not asked")
	says(t, run("X=", "podman", "--replace"), 2, "catenet: --replace is for docker")
	says(t, run("X=", "podman", "--dir", h.Dir), 1, "catenet: Podman defines no network in "+h.Dir)
}

func TestAdoptPodman(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Daemon()
	dir := filepath.Join(h.Dir, "podman")
	podman := func(args ...string) {
		h.MustRun("podman", append([]string{"--storage-driver", "vfs", "--root", dir + "/root", "--runroot", dir + "/run", "--network-config-dir", dir + "/nets", "network"}, args...)...)
	}
	podman("create", "--subnet", "10.60.0.0/16", "--gateway", "10.60.0.9", "--ip-range", "10.60.128.0/17", "--label", "tier=1", "-o", "mtu=1400", "-o", "isolate=true", "front")
	podman("create", "--internal", "--disable-dns", "--subnet", "10.61.0.0/24", "--ipv6", "--subnet", "fd00:61::/64", "back")
	podman("create", "-d", "macvlan", "-o", "parent=lo", "--subnet", "10.62.0.0/24", "lan")
	if err := os.WriteFile(dir+"/nets/broken.json", []byte(`{"name": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) lab.Result {
		return h.Try(append([]string{"adopt", "--dir", dir + "/nets", "podman"}, args...)...)
	}
	says(t, run("--dry-run"), 1,
		"front: would be made: bridge, 10.60.0.0/16 via 10.60.0.9 without 10.60.128.1-10.60.255.255",
		"back: would be made: bridge, 10.61.0.0/24, fd00:61::/64, internal",
		"  its containers have no names with Podman; here they have",
		"lan: cannot be made: there is no driver macvlan here")
	if got := h.Catenet("network", "ls", "-q"); len(strings.Fields(got)) != 3 {
		t.Errorf("a dry run has made networks: %s", got)
	}
	if r := run(); r.Code != 1 || !strings.Contains(r.Stdout, "broken: cannot be made: ") {
		t.Errorf("%+v", r)
	}
	front := pool("10.60.0.0/16", "10.60.0.9")
	front.SetAside = []catenet.Range{{First: netip.MustParseAddr("10.60.128.1"), Last: netip.MustParseAddr("10.60.255.255")}}
	adopted(t, h,
		catenet.NetworkSpec{Name: "front", Driver: "bridge", Pools: []catenet.Pool{front}, Labels: map[string]string{"tier": "1"}, Options: map[string]string{catenet.OptionMTU: "1400"}},
		catenet.NetworkSpec{Name: "back", Driver: "bridge", Pools: []catenet.Pool{pool("10.61.0.0/24", "10.61.0.1"), pool("fd00:61::/64", "fd00:61::1")}, IPv6: true, Internal: true})
	says(t, run(), 1, "front: exists already", "back: exists already")
}
