package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// dockerHost is a host with a dockerd of its own, and catenet as its plugin.
type dockerHost struct {
	*ground
	socket  string
	dockerd *lab.Process
}

func newDockerHost(t *testing.T) *dockerHost {
	t.Helper()
	t.Parallel()
	l := lab.New(t)
	d := &dockerHost{ground: &ground{l, l.Host("a"), l.Host("out")}}
	d.socket = filepath.Join(d.a.Dir, "docker.sock")
	l.Join(d.a, d.out, "192.0.2.0/24", "2001:db8:1::/64")
	d.a.Via(d.out)
	d.a.Own()
	d.plugged()
	d.startDocker()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dockerd says:\n%s", d.dockerd.Output())
		}
		d.dockerd.Signal(syscall.SIGTERM) // its containerd ends with it
	})
	d.up()
	d.a.MustRun("sh", "-c", "tar -c -C /bin busybox | docker -H unix://$0 import - busybox:local", d.socket)
	return d
}

// plugged starts our daemon as the plugin.
func (d *dockerHost) plugged() {
	d.T.Helper()
	d.a.Daemon("--docker-plugin", "--docker-host", "unix://"+d.socket)
}

func (d *dockerHost) startDocker() {
	d.T.Helper()
	d.dockerd = d.a.Start("dockerd", "--host", "unix://"+d.socket, "--data-root", d.a.Dir+"/docker", "--exec-root", "/run/docker-lab",
		"--pidfile", "/run/docker-lab.pid", "--storage-driver", "vfs")
}

// killDocker ends dockerd as a crash would, with its containerd: one that is still
// ending a new dockerd would take for its own.
func (d *dockerHost) killDocker() {
	d.T.Helper()
	const pidfile = "/run/docker-lab/containerd/containerd.pid"
	pid := strings.TrimSpace(d.a.MustRun("cat", pidfile))
	d.dockerd.Signal(syscall.SIGKILL)
	d.Eventually(soon, func() string {
		if r := d.a.Run("ps", "-o", "stat=", "-p", pid); r.Code == 0 && !strings.HasPrefix(r.Stdout, "Z") {
			return "containerd is still there: " + r.Stdout
		}
		return ""
	})
	d.a.MustRun("rm", "-f", pidfile)
}

// up waits until dockerd answers.
func (d *dockerHost) up() {
	d.T.Helper()
	d.Eventually(4*soon, func() string {
		if r := d.try("version"); r.Code != 0 {
			return r.Text() + d.dockerd.Output()
		}
		return ""
	})
}

func (d *dockerHost) try(args ...string) lab.Result {
	return d.a.Run("docker", append([]string{"-H", "unix://" + d.socket}, args...)...)
}

// docker runs a command of docker's that has to succeed.
func (d *dockerHost) docker(args ...string) string {
	d.T.Helper()
	r := d.try(args...)
	if r.Code != 0 {
		d.T.Fatalf("docker %s: %s\nlog of catenetd:\n%s", strings.Join(args, " "), r.Text(), d.a.Log())
	}
	return strings.TrimSpace(r.Stdout)
}

// refused runs one that has to fail and say all the words.
func (d *dockerHost) refused(words []string, args ...string) {
	d.T.Helper()
	r := d.try(args...)
	if r.Code == 0 {
		d.T.Errorf("docker %s is not refused", strings.Join(args, " "))
	}
	for _, w := range words {
		if !strings.Contains(r.Text(), w) {
			d.T.Errorf("docker %s says %q, which lacks %q", strings.Join(args, " "), r.Text(), w)
		}
	}
}

// run runs a container of Docker's that answers its name at port 80.
func (d *dockerHost) run(name string, flags ...string) {
	d.T.Helper()
	args := append([]string{"run", "-d", "--restart", "always", "--name", name}, flags...)
	d.docker(append(args, "busybox:local", "/busybox", "nc", "-ll", "-p", "80", "-e", "/busybox", "echo", name+" too")...)
	d.learned(name)
}

// learned waits until a container is known by its name.
func (d *dockerHost) learned(name string) {
	d.T.Helper()
	d.Eventually(2*soon, func() string {
		if r := d.a.Try("inspect", name); r.Code != 0 {
			return r.Text()
		}
		return ""
	})
}

// bare attaches a namespace of nobody's, which answers its name at port 80.
func (d *dockerHost) bare(name string, networks ...string) {
	d.T.Helper()
	d.a.MustRun("ip", "netns", "add", name)
	args := []string{"attach", "--netns", "/run/netns/" + name, "--name", name}
	for _, n := range networks {
		args = append(args, "--network", n)
	}
	d.a.Catenet(args...)
	d.a.Start("nsenter", "--net=/run/netns/"+name, "busybox", "nc", "-ll", "-p", "80", "-e", "busybox", "echo", name+" too")
}

// asks wants a container of Docker's to reach others by name, and be reached by a
// bare namespace.
func (d *dockerHost) asks(when, from string, names ...string) {
	d.T.Helper()
	for _, name := range names {
		d.Eventually(2*soon, func() string {
			r := d.try("exec", from, "/busybox", "nc", "-w", "2", name, "80")
			if !strings.HasPrefix(r.Stdout, strings.Split(name, ".")[0]+" too") {
				return fmt.Sprintf("%s, %s asks %s: %s", when, from, name, r.Text())
			}
			return ""
		})
	}
}

func (d *dockerHost) bareAsks(when, from string, names ...string) {
	d.T.Helper()
	for _, name := range names {
		d.Eventually(2*soon, func() string {
			// ip netns exec, for the resolv.conf in /etc/netns.
			r := d.a.Run("ip", "netns", "exec", from, "busybox", "nc", "-w", "2", name, "80")
			if !strings.HasPrefix(r.Stdout, name+" too") {
				return fmt.Sprintf("%s, %s asks %s: %s", when, from, name, r.Text())
			}
			return ""
		})
	}
}

// agree wants both daemons to say the same of a container in a network.
func (d *dockerHost) agree(when, network, container string) {
	d.T.Helper()
	var theirs []struct {
		ID         string
		Containers map[string]struct{ EndpointID, MacAddress, IPv4Address, IPv6Address string }
	}
	d.Eventually(2*soon, func() string {
		if err := json.Unmarshal([]byte(d.docker("network", "inspect", network)), &theirs); err != nil {
			return err.Error()
		}
		id := d.docker("inspect", "-f", "{{.Id}}", container)
		st := status(d.a, container)
		if st.RuntimeID != id || st.Owner != catenet.OwnerDocker {
			return fmt.Sprintf("%s, %s is %s of %q here, and %s there", when, container, st.RuntimeID, st.Owner, id)
		}
		t := theirs[0].Containers[id]
		for _, ep := range st.Endpoints {
			if ep.ID != t.EndpointID {
				continue
			}
			if ep.MAC != t.MacAddress || ep.IPv4.String() != t.IPv4Address || ep.IPv6.IsValid() && ep.IPv6.String() != t.IPv6Address {
				return fmt.Sprintf("%s, of %s in %s one says %+v and the other %+v", when, container, network, ep, t)
			}
			return ""
		}
		return fmt.Sprintf("%s, %s is not in %s here: %+v", when, container, network, st.Endpoints)
	})
}

// TestDockerGuests: containers of Docker's and bare namespaces on the same
// networks.
func TestDockerGuests(t *testing.T) {
	d := newDockerHost(t)
	d.docker("network", "create", "-d", "catenet", "--ipam-driver", "catenet", "front")
	d.Eventually(soon, func() string { return absent(d.a.Catenet("network", "ls"), "front") })
	d.a.Catenet("network", "create", "--subnet", "10.77.0.0/24", "--ipv6", "--subnet", "fd00:77::/64", "back")
	ours := []string{"network", "create", "-d", "catenet", "--ipam-driver", "catenet", "--ipv6", "--ipam-opt", "catenet.network=back", "--subnet", "10.77.0.0/24", "--subnet", "fd00:77::/64"}
	d.docker(append(ours, "-o", "catenet.network=back", "rear")...)
	d.docker("network", "create", "own")

	d.run("web", "--network", "front", "--network-alias", "shop", "-p", "8080:80")
	d.run("near", "--network", "rear", "--ip", "10.77.0.20")
	d.docker("network", "connect", "own", "near")
	d.run2("hidden", "own")
	d.bare("bare", "front", "back")

	d.asks("at first", "web", "bare", "web", "bare.front")
	d.asks("at first", "near", "bare", "near", "hidden")
	d.bareAsks("at first", "bare", "web", "near")
	d.answers(d.out, "", "tcp", at(d.a.Addr4, 8080), "web")
	if got := d.a.Catenet("port", "web"); !strings.Contains(got, "80/tcp -> 0.0.0.0:8080") {
		t.Errorf("catenet port: %s", got)
	}
	if r := d.a.Run("ip", "netns", "exec", "bare", "busybox", "nslookup", "shop", "127.0.0.11"); !strings.Contains(r.Stdout, d.addr4("web").String()) {
		t.Errorf("the alias is not known: %s", r.Text())
	}
	if st := status(d.a, "near"); len(st.Endpoints) != 1 || st.Endpoints[0].IPv4.Addr() != netip.MustParseAddr("10.77.0.20") || !st.Endpoints[0].IPv6.IsValid() {
		t.Errorf("near is at %+v", st.Endpoints)
	}
	if got := d.a.MustRun("iptables", "-S", "DOCKER-USER"); !strings.Contains(got, "catenet") {
		t.Errorf("nothing of ours in the place that Docker leaves for it:\n%s", got)
	}
	d.agree("at first", "front", "web")
	d.agree("at first", "rear", "near")

	d.docker("network", "connect", "--alias", "second", "rear", "web") // one more, to a container that runs
	d.asks("in two", "web", "near", "bare")
	d.agree("in two", "rear", "web")
	d.docker("rename", "web", "shopfront")
	d.learned("shopfront")
	d.docker("network", "disconnect", "rear", "shopfront")
	if n := len(status(d.a, "shopfront").Endpoints); n != 1 {
		t.Errorf("out of one network again, it is in %d", n)
	}

	d.mistakes()
	d.clash()
	d.restarts()
	forgotten := d.forgets()
	d.leavesNothing()
	forgotten()
}

// clash: a container whose name somebody else has keeps the one that we gave it, until
// that one is free.
func (d *dockerHost) clash() {
	d.a.Catenet("run", "-d", "--name", "twin", "--network", "none", "--", "sleep", "600")
	d.docker("run", "-d", "--name", "twin", "--network", "front", "busybox:local", "/busybox", "sleep", "600")
	d.Eventually(soon, func() string { return absent(d.a.Log(), "a container is not called as in Docker") })
	id := d.docker("inspect", "-f", "{{.Id}}", "twin")
	if st := status(d.a, id); !strings.HasPrefix(st.Name, "docker-") || st.Owner != catenet.OwnerDocker {
		d.T.Errorf("by its ID in Docker it is %+v", st)
	}
	d.a.Catenet("rename", "twin", "brother")
	d.learned("twin")
	d.docker("run", "-d", "--name", "brother", "--network", "front", "busybox:local", "/busybox", "sleep", "600")
	d.a.Catenet("rm", "-f", "brother")
	d.learned("brother")
	d.docker("rm", "-f", "twin", "brother")
}

// forgets leaves what dockerd asks for and then never mentions again, because it
// was killed halfway. What it returns wants all of it to be given back.
func (d *dockerHost) forgets() (gone func()) {
	id, ep := catenet.NewID(), catenet.NewID()
	ask := func(what, format string, args ...any) {
		d.T.Helper()
		if a := call(d.a, d.T, what, fmt.Sprintf(format, args...)); a["Err"] != nil {
			d.T.Fatalf("%s: %v", what, a["Err"])
		}
	}
	ask("IpamDriver.RequestPool", `{"AddressSpace":"catenet","Pool":"10.91.0.0/24"}`)
	ask("IpamDriver.RequestAddress", `{"PoolID":"10.91.0.0/24","Options":{"RequestAddressType":"com.docker.network.gateway"}}`)
	ask("NetworkDriver.CreateNetwork", `{"NetworkID":%q,"IPv4Data":[{"Pool":"10.92.0.0/24","Gateway":"10.92.0.1/24"}]}`, id)
	ask("IpamDriver.RequestAddress", `{"PoolID":"10.77.0.0/24","Address":"10.77.0.200"}`)
	ask("NetworkDriver.CreateEndpoint", `{"NetworkID":%q,"EndpointID":%q,"Interface":{"Address":"10.92.0.9/24"}}`, id, ep)
	ask("NetworkDriver.Join", `{"NetworkID":%q,"EndpointID":%q,"SandboxKey":"/run/never"}`, id, ep)
	d.a.Kill()
	d.plugged()
	return func() {
		d.T.Helper()
		d.Eventually(3*soon, func() string {
			for what, left := range map[string]string{"endpoint": "docker-never", "network": "docker-" + catenet.ShortID(id)} {
				if strings.Contains(d.a.Catenet("ps")+d.a.Catenet("network", "ls"), left) {
					return "the " + what + " that dockerd has forgotten is there: " + left
				}
			}
			for _, subnet := range []string{"10.91.0.0/24", "10.92.0.0/24"} {
				if r := d.a.Try("network", "create", "--subnet", subnet, "again"); r.Code != 0 {
					return r.Text()
				}
				d.a.Catenet("network", "rm", "again")
			}
			return absent(d.a.Try("run", "--rm", "--network", "back", "--ip", "10.77.0.200", "--", "echo", "given back").Text(), "given back")
		})
	}
}

// run2 runs a container in a network of Docker's own.
func (d *dockerHost) run2(name, network string) {
	d.T.Helper()
	d.docker("run", "-d", "--restart", "always", "--name", name, "--network", network, "busybox:local", "/busybox", "nc", "-ll", "-p", "80", "-e", "/busybox", "echo", name+" too")
}

// mistakes are refused, and say what would be right.
func (d *dockerHost) mistakes() {
	create := func(args ...string) []string { return append([]string{"network", "create", "-d", "catenet"}, args...) }
	d.refused([]string{"--ipam-opt catenet.network=back"}, create("-o", "catenet.network=back", "--subnet", "10.77.0.0/24", "x")...)
	d.refused([]string{"--subnet 10.77.0.0/24"}, create("--ipam-driver", "catenet", "--ipam-opt", "catenet.network=back", "-o", "catenet.network=back", "x")...)
	d.refused([]string{"nothere"}, create("--ipam-driver", "catenet", "-o", "catenet.network=nothere", "x")...)
	d.refused([]string{"bogus"}, create("--ipam-driver", "catenet", "-o", "catenet.driver=bogus", "x")...)
	d.refused([]string{"ptp", "cannot wait"}, create("--ipam-driver", "catenet", "-o", "catenet.driver=ptp", "x")...)
	d.refused([]string{"com.example.none"}, create("--ipam-driver", "catenet", "-o", "com.example.none=1", "x")...)
	d.refused([]string{"overlaps"}, create("--ipam-driver", "catenet", "--subnet", "10.77.0.0/25", "x")...)
	d.refused([]string{"10.77.0.20"}, "run", "--rm", "--network", "rear", "--ip", "10.77.0.20", "busybox:local", "/busybox", "true")
	d.refused([]string{"8080"}, "run", "--rm", "--network", "front", "-p", "8080:80", "busybox:local", "/busybox", "true")
	d.agree("after a refusal", "rear", "near")

	// Addresses that dockerd hands out itself.
	d.docker(create("--subnet", "10.78.0.0/24", "plain")...)
	// Its name is learned from dockerd, a moment later.
	d.Eventually(soon, func() string { return d.a.Try("network", "inspect", "plain").Stderr })
	d.a.Catenet("run", "-d", "--name", "fixed", "--network", "plain", "--", "sleep", "600")
	ours := d.addr4("fixed").String()
	if ours != "10.78.0.128" {
		d.T.Errorf("beside dockerd, which counts up from below, ours is %s", ours)
	}
	d.refused([]string{ours}, "run", "--rm", "--network", "plain", "--ip", ours, "busybox:local", "/busybox", "true")
	d.docker("run", "--rm", "--network", "plain", "busybox:local", "/busybox", "nslookup", "fixed")
	d.docker("network", "rm", "plain")
	if got := d.endpoint("fixed").Spec.Network; got != "plain" { // it stays for who is in it
		d.T.Errorf("fixed is in %s", got)
	}
	d.a.Catenet("rm", "-f", "fixed")
	d.a.Catenet("network", "rm", "plain")
}

// restarts ends both daemons, one and the other, each way.
func (d *dockerHost) restarts() {
	startDocker := func() { d.startDocker(); d.up() }
	check := func(when string) {
		d.T.Helper()
		for _, name := range []string{"shopfront", "near"} {
			d.learned(name)
		}
		d.asks(when, "near", "bare", "near", "hidden")
		d.bareAsks(when, "bare", "near")
		d.Eventually(2*soon, func() string {
			if got := d.out.Ask("", "tcp", at(d.a.Addr4, 8080)); got != "web too" {
				return fmt.Sprintf("%s, the port answers %q", when, got)
			}
			return ""
		})
		d.agree(when, "front", "shopfront")
		d.agree(when, "rear", "near")
	}
	for _, step := range []struct {
		when string
		do   []func()
	}{
		{"catenetd killed", []func(){d.a.Kill, func() { d.asks("without catenetd", "near", "hidden") }, d.plugged}},
		{"catenetd stopped", []func(){d.a.Stop, d.plugged}},
		{"dockerd killed", []func(){d.killDocker, startDocker}},
		{"both killed, dockerd first to come", []func(){d.a.Kill, d.killDocker, d.startDocker, d.plugged, d.up}},
		{"both killed, catenetd first to come", []func(){d.killDocker, d.a.Kill, d.plugged, startDocker}},
	} {
		for _, do := range step.do {
			do()
		}
		check(step.when)
	}
	// dockerd asks until somebody answers.
	d.a.Kill()
	late := d.a.Start("docker", "-H", "unix://"+d.socket, "run", "-d", "--name", "late", "--network", "front", "busybox:local", "/busybox", "sleep", "600")
	d.Eventually(soon, func() string { return absent(d.dockerd.Output(), "Unable to connect to plugin") })
	d.plugged()
	if out := late.Wait(); len(strings.TrimSpace(out)) != 64 {
		d.T.Errorf("a container that came while catenetd was away: %s", out)
	}
	d.learned("late")
	d.agree("late", "front", "late")
}

// leavesNothing ends all, and looks for what is left.
func (d *dockerHost) leavesNothing() {
	d.docker("rm", "-f", "shopfront", "near", "hidden", "late")
	d.Eventually(soon, func() string {
		var all []catenet.SandboxStatus
		d.a.Inspect(&all, "inspect", "bare")
		for _, link := range strings.Fields(d.a.MustRun("ip", "-br", "link")) {
			if strings.HasPrefix(link, "ctp") || strings.HasPrefix(link, "ctn") && !strings.Contains(fmt.Sprint(all[0].Endpoints), strings.Split(link, "@")[0]) {
				return "left: " + link
			}
		}
		return ""
	})
	for _, n := range []string{"front", "back"} {
		var st []catenet.NetworkStatus
		d.a.Inspect(&st, "network", "inspect", n)
		for _, o := range st[0].Owners {
			if o.Owner != "gateway" && o.Owner != "bare" {
				d.T.Errorf("address %s of %s is %s's", o.Address, n, o.Owner)
			}
		}
	}
	d.a.Catenet("detach", "bare")
	d.a.MustRun("ip", "netns", "del", "bare")
	d.docker("network", "rm", "front", "rear", "own")
	if got := d.a.Catenet("network", "ls"); strings.Contains(got, "front") || !strings.Contains(got, "back") {
		d.T.Errorf("networks are\n%s", got)
	}
	if got := d.a.MustRun("iptables", "-S", "DOCKER-USER"); strings.Contains(got, "catenet") {
		d.T.Errorf("of ours is left in\n%s", got)
	}
}
