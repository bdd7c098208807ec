package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// sharer is a container of one of the runtimes on a network.
type sharer struct {
	name string // in the network
	port uint16 // of the host, that leads to its port 80
	// run runs busybox in it.
	run func(args ...string) lab.Result
}

// TestGuestsOfAllKinds: containers of Docker's, Podman's and containerd's and a
// namespace of nobody's are on one network, by name and by published ports, also
// after each daemon was killed and started.
func TestGuestsOfAllKinds(t *testing.T) {
	d := newDockerHost(t)
	p := newPodman(t, d.a)
	c := cniOn(t, d.ground)
	d.a.Catenet("network", "create", "--subnet", "10.77.0.0/24", "shared")
	guests := []sharer{d.ofDocker(), d.ofPodman(p), d.ofContainerd(c), d.ofNobody()}

	check := func(when string) {
		t.Helper()
		for _, from := range guests {
			for _, to := range guests {
				d.Eventually(2*soon, func() string {
					r := from.run("nc", "-w", "2", to.name, "80")
					return saysToo(r, fmt.Sprintf("%s, %s asks %s", when, from.name, to.name), to)
				})
			}
		}
		for _, to := range guests {
			d.Eventually(2*soon, func() string {
				r := d.out.Run("busybox", "nc", "-w", "2", d.a.Addr4.String(), fmt.Sprint(to.port))
				return saysToo(r, fmt.Sprintf("%s, port %d", when, to.port), to)
			})
		}
		list := d.a.Catenet("ps", "--format", "{{.Name}} {{.Owner}}")
		for _, line := range []string{"docked docker", "podded podman", "default-contained cni", "bare attach"} {
			if !strings.Contains(list+"\n", line+"\n") {
				t.Errorf("%s, ps has no %q: %s", when, line, list)
			}
		}
	}
	check("at first")
	d.a.Kill()
	d.plugged()
	check("catenetd killed")
	d.killDocker()
	d.startDocker()
	d.up()
	check("dockerd killed")
	c.containerd.Signal(syscall.SIGKILL)
	c.startContainerd()
	check("containerd killed")

	d.docker("rm", "-f", "docked")
	p.must("rm", "-f", "-t0", "podded")
	for _, args := range [][]string{{"task", "rm", "-f", "contained"}, {"container", "rm", "contained"}} {
		if r := c.ctr(args...); r.Code != 0 {
			t.Error(r.Text())
		}
	}
	d.a.Catenet("detach", "bare")
	d.a.MustRun("ip", "netns", "del", "bare")
	d.Eventually(soon, func() string {
		if list := d.a.Catenet("ps", "-aq"); list != "" {
			return "left: " + list
		}
		return ""
	})
	d.docker("network", "rm", "shared")
	d.a.Catenet("network", "rm", "shared")
}

func saysToo(r lab.Result, what string, to sharer) string {
	if !strings.HasPrefix(r.Stdout, to.name+" too") {
		return what + ": " + r.Text()
	}
	return ""
}

// answers are the arguments of a busybox that answers a name on port 80.
func answers(name string) []string {
	return []string{"nc", "-ll", "-p", "80", "-e", "/bin/busybox", "echo", name + " too"}
}

func (d *dockerHost) ofDocker() sharer {
	d.docker("network", "create", "-d", "catenet", "--ipam-driver", "catenet", "--ipam-opt", "catenet.network=shared", "--subnet", "10.77.0.0/24", "-o", "catenet.network=shared", "shared")
	d.run("docked", "--network", "shared", "-p", "8081:80")
	return sharer{"docked", 8081, func(args ...string) lab.Result {
		return d.try(append([]string{"exec", "docked", "/busybox"}, args...)...)
	}}
}

func (d *dockerHost) ofPodman(p *podman) sharer {
	definition := d.a.Catenet("network", "export", "podman", "shared")
	d.a.Feed(definition, "sh", "-ec", "mkdir -p /etc/containers/networks; cat >/etc/containers/networks/shared.json")
	p.must(append([]string{"run", "-d", "--name", "podded", "--network", "shared", "-p", "8082:80", "busybox", "/bin/busybox"}, answers("podded")...)...)
	return sharer{"podded", 8082, func(args ...string) lab.Result {
		return p.try(append([]string{"exec", "podded", "/bin/busybox"}, args...)...)
	}}
}

func (d *dockerHost) ofContainerd(c *cniHost) sharer {
	c.a.MustRun("cp", "/usr/lib/cni/loopback", filepath.Join(c.dir, "bin"))
	c.conf("1.0.0", "shared", `{"type":"catenet","network":"shared"}`)
	c.startContainerd()
	root := filepath.Join(c.dir, "rootfs")
	c.a.MustRun("sh", "-ec", `mkdir -p "$0/bin" "$0/etc"; cp /bin/busybox "$0/bin"; echo nameserver 127.0.0.11 >"$0/etc/resolv.conf"`, root)
	const name = "default-contained"
	if r := c.ctr(append([]string{"run", "-d", "--cni", "--rootfs", root, "contained", "/bin/busybox"}, answers(name)...)...); r.Code != 0 {
		d.T.Fatal(r.Text())
	}
	d.a.Catenet("update", "--publish", "8083:80", name)
	execs := 0
	return sharer{name, 8083, func(args ...string) lab.Result {
		execs++
		return c.ctr(append([]string{"task", "exec", "--exec-id", fmt.Sprint("x", execs), "contained", "/bin/busybox"}, args...)...)
	}}
}

func (d *dockerHost) ofNobody() sharer {
	d.a.MustRun("ip", "netns", "add", "bare")
	d.a.Catenet("attach", "--netns", "/run/netns/bare", "--name", "bare", "--network", "shared", "-p", "8084:80")
	d.a.Start("nsenter", append([]string{"--net=/run/netns/bare", "busybox"}, answers("bare")...)...)
	return sharer{"bare", 8084, func(args ...string) lab.Result {
		// ip netns exec, for the resolv.conf in /etc/netns.
		return d.a.Run("ip", append([]string{"netns", "exec", "bare", "busybox"}, args...)...)
	}}
}
