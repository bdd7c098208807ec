package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// podman is Debian's Podman on a host, with folders of its own, an image
// busybox, and our program in netavark's place.
type podman struct {
	*lab.Host
	t   *testing.T
	env []string
}

const podmanConf = `[engine]
helper_binaries_dir = [%q, "/usr/lib/podman"]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
`

// newPodman installs Podman on a host that has folders of its own.
func newPodman(t *testing.T, h *lab.Host) *podman {
	t.Helper()
	dir := filepath.Join(h.Dir, "podman")
	p := &podman{h, t, []string{"CONTAINERS_CONF=" + dir + "/containers.conf", "CATENET_HOST=unix://" + h.Socket()}}
	h.MustRun("sh", "-ec", `mkdir -p "$0/bin" "$0/image/bin" "$0/image/tmp"
		ln -s "$1/catenet-netavark" "$0/bin/netavark"
		cp /bin/busybox "$0/image/bin/"
		for n in sh cat httpd ip sleep wget; do ln -s busybox "$0/image/bin/$n"; done
		tar -C "$0/image" -cf "$0/image.tar" .`, dir, lab.Binaries(t))
	if err := os.WriteFile(dir+"/containers.conf", fmt.Appendf(nil, podmanConf, dir+"/bin"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("import", dir+"/image.tar", "busybox")
	t.Cleanup(func() {
		if p.Try("ps").Code != 0 {
			p.Daemon()
		}
		p.must("rm", "-fa", "-t0")
		p.must("pod", "rm", "-fa", "-t0")
	})
	return p
}

// command are the arguments of env(1) for a command of Podman's.
func (p *podman) command(args ...string) []string {
	dir := filepath.Join(p.Dir, "podman")
	args = append([]string{"podman", "--storage-driver", "vfs", "--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp"}, args...)
	return append(slices.Clone(p.env), args...)
}

// try runs a command of Podman's.
func (p *podman) try(args ...string) lab.Result { return p.Run("env", p.command(args...)...) }

func (p *podman) must(args ...string) string {
	p.t.Helper()
	r := p.try(args...)
	if r.Code != 0 {
		p.t.Fatalf("podman %s: %s", strings.Join(args, " "), r.Text())
	}
	return strings.TrimSpace(r.Stdout)
}

// refused wants a command to fail and to say all the words.
func (p *podman) refused(words []string, args ...string) {
	p.t.Helper()
	r := p.try(args...)
	if r.Code == 0 {
		p.t.Errorf("podman %s: not refused", strings.Join(args, " "))
	}
	for _, w := range words {
		if !strings.Contains(r.Text(), w) {
			p.t.Errorf("podman %s: no %q in %s", strings.Join(args, " "), w, r.Text())
		}
	}
}

// serve runs a container whose web server says its name.
func (p *podman) serve(name string, flags ...string) {
	p.t.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	p.must(append(args, "busybox", "sh", "-c", "echo "+name+" >/index.html; exec httpd -f -p 80 -h /")...)
}

// says wants whoever is asked to answer with a name: eventually, for servers
// start when they are ready.
func (p *podman) says(l *lab.Lab, asks, who, want string, ask func(who string) lab.Result) {
	p.t.Helper()
	l.Eventually(soon, func() string {
		if r := ask(who); !strings.HasPrefix(r.Stdout, want) {
			return fmt.Sprintf("%s asks %s and hears %q, want %q", asks, who, r.Text(), want)
		}
		return ""
	})
}

// inside asks from a container of Podman's. (wget of a static busybox dies of -T.)
func (p *podman) inside(name string) func(who string) lab.Result {
	return func(who string) lab.Result { return p.try("exec", name, "wget", "-qO-", "http://"+who+"/") }
}

// curl asks from a container of ours, or from a host.
func curl(h *lab.Host, container string) func(who string) lab.Result {
	return func(who string) lab.Result {
		args := []string{"curl", "-s", "--max-time", "3", "http://" + who + "/"}
		if container == "" {
			return h.Run(args[0], args[1:]...)
		}
		return h.Exec(container, args...)
	}
}

// definition reads what Podman has on record of a network.
func (p *podman) definition(name string) (text string) {
	return p.must("network", "inspect", name)
}

// podmanGround is a host with a daemon and Podman, and another outside.
func podmanGround(t *testing.T) (*lab.Lab, *podman, *lab.Host) {
	t.Helper()
	t.Parallel()
	l := lab.New(t)
	a, out := l.Host("a"), l.Host("out")
	l.Join(a, out, "192.0.2.0/24", "2001:db8:1::/64")
	a.Via(out)
	a.Own()
	// A server of names that says at once that it is none.
	a.MustRun("sh", "-ec", "rm -f /etc/resolv.conf; echo nameserver 192.0.2.2 >/etc/resolv.conf")
	a.Daemon()
	return l, newPodman(t, a), out
}

// bare runs a container of ours whose web server says its name.
func (p *podman) bare(name string, flags ...string) {
	p.t.Helper()
	dir := filepath.Join(p.Dir, name)
	p.MustRun("sh", "-ec", `mkdir -p "$0"; echo "$1" >"$0/index.html"`, dir, name)
	args := append([]string{"run", "-d", "--name", name}, flags...)
	p.Catenet(append(args, "--", "busybox", "httpd", "-f", "-p", "80", "-h", dir)...)
}

func TestPodman(t *testing.T) {
	l, p, out := podmanGround(t)
	p.must("network", "create", "--subnet", "10.77.0.0/24", "front")
	p.serve("web", "--network", "front", "--network-alias", "shop", "-p", "8080-8081:80-81", "-p", "127.0.0.1:9000:90/udp")
	p.bare("plain", "--network", "front")

	// One network: by name, both ways, and from outside.
	p.says(l, "web", "plain", "plain", p.inside("web"))
	id := p.must("inspect", "-f", "{{.Id}}", "web")
	for _, name := range []string{"web", "shop", "web.dns.podman", "shop.dns.podman", id[:12]} {
		p.says(l, "plain", name, "web", curl(p.Host, "plain"))
	}
	p.says(l, "out", "192.0.2.1:8080", "web", curl(out, ""))
	p.says(l, "the host", "127.0.0.1:8080", "web", curl(p.Host, ""))
	if got := p.Catenet("port", "web"); got != "80/tcp -> 0.0.0.0:8080\n81/tcp -> 0.0.0.0:8081\n90/udp -> 127.0.0.1:9000" {
		t.Errorf("ports: %s", got)
	}
	if got := p.Catenet("ps", "--format", "{{.Name}} {{.Owner}}"); !strings.Contains(got, "web podman") {
		t.Errorf("ps: %q", got)
	}
	if got := status(p.Host, id[:9]).Name; got != "web" {
		t.Errorf("by Podman's ID: %q", got)
	}
	var info catenet.Info
	if p.Inspect(&info, "info"); len(info.Warnings) > 0 { // Podman holds the ports
		t.Errorf("warnings: %q", info.Warnings)
	}
	p.Refused([]string{"8080", "taken"}, "run", "-d", "--network", "front", "-p", "8080:80", "--", "sleep", "9")
	p.bare("other", "--network", "front", "-p", "8082:80")
	p.refused([]string{"8082"}, "run", "--rm", "--network", "front", "-p", "8082:80", "busybox", "sleep", "9")

	p.refused([]string{"plain", "taken"}, "run", "--rm", "--name", "plain", "--network", "front", "busybox", "sleep", "9")

	podmanAddresses(t, p)
	podmanMoves(t, l, p)
	podmanPod(t, l, p)
	podmanKube(t, l, p)
	podmanDaemonGone(t, l, p, out)

	p.must("rm", "-fa", "-t0")
	if got := p.Catenet("ps", "--format", "{{.Owner}}"); strings.Contains(got, "podman") {
		t.Errorf("left: %s", got)
	}
}

// podmanAddresses: what a container asks of its networks, and what a network
// asks for all.
func podmanAddresses(t *testing.T, p *podman) {
	p.must("network", "create", "--subnet", "10.78.0.0/24", "--internal", "-o", "mtu=1400", "inner")
	p.must("network", "create", "--subnet", "10.79.0.0/24", "--ipv6", "--subnet", "fd00:79::/64", "--disable-dns", "-o", "isolate=true", "mute")
	p.must("run", "-d", "--name", "both",
		"--network", "front:ip=10.77.0.60,mac=02:11:22:33:44:55,interface_name=lan0,alias=twin",
		"--network", "inner:ip=10.78.0.61", "busybox", "sleep", "600")
	got := p.must("exec", "both", "ip", "address")
	for _, want := range []string{"lan0", "10.77.0.60/24", "02:11:22:33:44:55", "10.78.0.61/24", "mtu 1400"} {
		if !strings.Contains(got, want) {
			t.Errorf("both: no %s in\n%s", want, got)
		}
	}
	if got := p.must("exec", "both", "ip", "route"); strings.Count(got, "default") != 1 || !strings.Contains(got, "default via 10.77.0.1 dev lan0") {
		t.Errorf("both: routes\n%s", got)
	}
	if got := p.must("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}} {{.Gateway}};{{end}}", "both"); !strings.Contains(got, "10.77.0.60 02:11:22:33:44:55 10.77.0.1;") {
		t.Errorf("podman inspect: %s", got)
	}
	if got := p.must("run", "--rm", "--network", "inner", "busybox", "ip", "route"); strings.Contains(got, "default") {
		t.Errorf("a way out of an internal network: %s", got)
	}
	got = p.must("run", "--rm", "--network", "mute", "busybox", "sh", "-c", "cat /etc/resolv.conf; ip address")
	if strings.Contains(got, "127.0.0.11") || !strings.Contains(got, "10.79.0.") || !strings.Contains(got, "fd00:79::") {
		t.Errorf("without DNS, with IPv6:\n%s", got)
	}
	// Podman's default network has no definition, and no names.
	if got := p.must("run", "--rm", "busybox", "sh", "-c", "ip address; cat /etc/resolv.conf"); !strings.Contains(got, "10.88.0.") || strings.Contains(got, "127.0.0.11") {
		t.Errorf("the default network:\n%s", got)
	}
	if got := p.definition("podman"); !strings.Contains(got, `"end_ip": "10.88.127.255"`) {
		t.Errorf("Podman is not told of its part: %s", got)
	}
	p.must("rm", "-f", "-t0", "both")
	// Podman does not tell that a network went, and another came by its name.
	for _, subnet := range []string{"10.83.0.0/24", "10.84.0.0/24"} {
		p.must("network", "create", "--subnet", subnet, "again")
		if got := p.must("run", "--rm", "--network", "again", "busybox", "ip", "address"); !strings.Contains(got, subnet[:7]) {
			t.Errorf("another network of the name: %s", got)
		}
		p.must("network", "rm", "again")
	}
}

// podmanMoves: network connect, disconnect and reload; a stop and a start.
func podmanMoves(t *testing.T, l *lab.Lab, p *podman) {
	p.must("network", "connect", "--ip", "10.78.0.70", "--alias", "second", "inner", "web")
	p.must("run", "-d", "--name", "peer", "--network", "inner", "busybox", "sleep", "600")
	p.says(l, "peer", "second", "web", p.inside("peer"))
	p.must("network", "reload", "web")
	p.says(l, "peer", "web", "web", p.inside("peer"))
	p.says(l, "the host, after the reload,", "127.0.0.1:8080", "web", curl(p.Host, ""))
	p.must("network", "disconnect", "inner", "web")
	if r := p.inside("peer")("second"); r.Code == 0 {
		t.Error("it is reached in a network that it has left")
	}
	p.says(l, "the host, after it has left,", "127.0.0.1:8080", "web", curl(p.Host, ""))
	p.must("stop", "-t0", "web")
	if r := p.Try("inspect", "web"); r.Code == 0 {
		t.Error("a stopped container is in its networks")
	}
	p.must("start", "web")
	p.says(l, "plain, after a new start,", "web", "web", curl(p.Host, "plain"))
	p.must("rm", "-f", "-t0", "peer")
}

// podmanPod: the containers of a pod are one for the network, by the pod's
// name.
func podmanPod(t *testing.T, l *lab.Lab, p *podman) {
	p.must("pod", "create", "--name", "crew", "--network", "front", "-p", "8085:80", "--infra-image", "busybox", "--infra-command", "/bin/sleep 600")
	p.serve("one", "--pod", "crew")
	p.must("run", "-d", "--name", "two", "--pod", "crew", "busybox", "sleep", "600")
	p.says(l, "plain", "crew", "one", curl(p.Host, "plain"))
	p.says(l, "two", "plain", "plain", p.inside("two"))
	p.says(l, "two", "127.0.0.1", "one", p.inside("two"))
	p.says(l, "the host", "127.0.0.1:8085", "one", curl(p.Host, ""))
	p.must("pod", "rm", "-f", "-t0", "crew")
	if r := p.Try("inspect", "crew"); r.Code == 0 {
		t.Error("a pod that was removed is in its network")
	}
}

const kube = `apiVersion: v1
kind: Pod
metadata: {name: kubed}
spec:
  containers:
  - name: one
    image: localhost/busybox:latest
    command: [/bin/sh, -c, "echo kubed >/index.html; exec /bin/httpd -f -p 80 -h /"]
    ports: [{containerPort: 80, hostPort: 8086}]
`

// podmanKube: so are those that a file of Kubernetes' describes.
func podmanKube(t *testing.T, l *lab.Lab, p *podman) {
	path := filepath.Join(p.Dir, "kube.yaml")
	if err := os.WriteFile(path, []byte(kube), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("play", "kube", "--network", "front", path)
	p.says(l, "plain", "kubed", "kubed", curl(p.Host, "plain"))
	p.says(l, "the host", "127.0.0.1:8086", "kubed", curl(p.Host, ""))
	p.must("play", "kube", "--down", path)
	if r := p.Try("inspect", "kubed"); r.Code == 0 {
		t.Error("what was described is in its network after it went down")
	}
}

// podmanDaemonGone: containers go on without the daemon and after its start;
// what Podman does meanwhile is refused, or done then.
func podmanDaemonGone(t *testing.T, l *lab.Lab, p *podman, out *lab.Host) {
	p.must("run", "-d", "--name", "brief", "--network", "front", "busybox", "sleep", "600")
	p.must("network", "connect", "inner", "brief")
	p.Kill()
	p.says(l, "out, without a daemon,", "192.0.2.1:8080", "web", curl(out, ""))
	p.refused([]string{"netavark", "the daemon is away"}, "run", "--rm", "--network", "front", "busybox", "sleep", "9")
	p.must("network", "disconnect", "inner", "brief")
	p.Daemon()
	if eps := status(p.Host, "brief").Endpoints; len(eps) != 1 || eps[0].Spec.Network != "front" {
		t.Errorf("what Podman left while no daemon was there is %+v", eps)
	}
	p.says(l, "out, after a start,", "192.0.2.1:8080", "web", curl(out, ""))
	p.says(l, "web, after a start,", "plain", "plain", p.inside("web"))
	p.says(l, "plain, after a start,", "web", "web", curl(p.Host, "plain"))
	p.refused([]string{"8080"}, "run", "--rm", "--network", "front", "-p", "8080:80", "busybox", "sleep", "9")
}

// TestPodmanSharesItsSubnet fills networks with containers of both kinds, one
// that Podman made and one that was made here: nobody is given what another has,
// and nobody stops before all is full.
func TestPodmanSharesItsSubnet(t *testing.T) {
	_, p, _ := podmanGround(t)
	p.must("network", "create", "--subnet", "10.80.0.0/28", "theirs")
	fill(t, p, "theirs", 13) // 16 but the network, the gateway and the broadcast
	p.Catenet("network", "create", "--subnet", "10.81.0.0/29", "-o", "com.docker.network.bridge.name=ours0", "ours")
	p.Catenet("run", "-d", "--name", "first", "--network", "ours", "--", "sleep", "600")
	p.MustRun("sh", "-ec", `"$0" -H "unix://$1" network export podman ours >/etc/containers/networks/ours.json`, lab.Binaries(t)+"/catenet", p.Socket())
	if got := p.definition("ours"); !strings.Contains(got, `"start_ip": "10.81.0.4"`) {
		t.Errorf("exported: %s", got)
	}
	fill(t, p, "ours", 4) // and one is in
	p.Refused([]string{"docker"}, "network", "export", "docker", "ours")
	p.Refused([]string{"bridge"}, "network", "export", "podman", "bridge")
	p.Refused([]string{"10.82.0.1"}, "network", "export", "--range", "10.82.0.1-10.82.0.9", "podman", "ours")
}

// fill runs containers of both kinds in a network, by turns, until nobody gets
// in any more: it wants that many.
func fill(t *testing.T, p *podman, network string, want int) {
	t.Helper()
	seen := map[netip.Addr]string{}
	full := map[string]string{}
	for i := 0; len(full) < 2 && i < 20; i++ {
		// A network of Podman's is here when its first container is.
		for _, by := range []struct {
			kind string
			run  func(name string) lab.Result
		}{
			{"theirs", func(name string) lab.Result {
				return p.try("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "600")
			}},
			{"ours", func(name string) lab.Result {
				return p.Try("run", "-d", "--name", name, "--network", network, "--", "sleep", "600")
			}},
		} {
			kind := by.kind
			name := fmt.Sprintf("%s-%s-%d", network, kind, i)
			if full[kind] != "" {
				continue
			}
			if r := by.run(name); r.Code != 0 {
				full[kind] = r.Text()
				continue
			}
			a := status(p.Host, name).Endpoints[0].IPv4.Addr()
			if other := seen[a]; other != "" {
				t.Errorf("%s is %s's and %s's", a, other, name)
			}
			seen[a] = name
		}
	}
	if len(seen) != want {
		t.Errorf("%s: %d containers are in, want %d: %v; %q", network, len(seen), want, seen, full)
	}
	if !strings.Contains(full["theirs"], "failed to find free IP") || !strings.Contains(full["ours"], "no address") {
		t.Errorf("%s: what is full is not what each kind has for its own: %q", network, full)
	}
}
