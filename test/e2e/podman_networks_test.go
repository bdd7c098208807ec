package e2e

import (
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// TestPodmanNetworks: what a container of Podman's has of its networks, while it
// joins and leaves them, and when somebody removes the rules of all.
func TestPodmanNetworks(t *testing.T) {
	l, p, out := podmanGround(t)
	p.must("network", "create", "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd00:77::/64", "front")
	p.must("network", "create", "--subnet", "10.78.0.0/24", "back")
	p.must("network", "create", "--subnet", "10.79.0.0/24", "side")
	podmanPorts(t, l, p, out)
	podmanLeaves(t, l, p)
	podmanFlushed(t, l, p, out)
	podmanKilled(t, l, p)
	podmanRefused(t, p)
}

// asks wants one container of Podman's to find another by a name.
func (p *podman) asks(l *lab.Lab, who, name, want string) {
	p.t.Helper()
	p.says(l, who, name, want, p.inside(who))
}

// podmanPorts: ports of every form that Podman has lead to the container.
func podmanPorts(t *testing.T, l *lab.Lab, p *podman, out *lab.Host) {
	p.serve("web", "--network", "front", "-p", "127.0.0.1::80", "-p", "9100-9102:80-82", "-p", "192.0.2.1:9200:80",
		"-p", "[2001:db8:1::1]:9300:80", "-p", "9000:90/udp", "-p", "9001-9002:91-92/udp", "-P", "--expose", "94/udp")
	ns := "/proc/" + p.must("inspect", "-f", "{{.State.Pid}}", "web") + "/ns/net"
	p.ServeUDP(ns, 90, "ninety")
	p.ServeUDP(ns, 92, "ninety-two")
	p.ServeUDP(ns, 94, "exposed")
	p.Serve(ns, 82, "eighty-two")
	at := map[string]string{} // by the container's port
	for line := range strings.Lines(p.must("port", "web")) {
		port, host, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		if ours := p.Catenet("port", "web", port); !strings.Contains(ours, host) && !strings.Contains(ours, "["+host[:max(0, strings.LastIndex(host, ":"))]+"]") {
			t.Errorf("%s is at %s, and here at %s", port, host, ours)
		}
		if at[port] == "" || strings.HasPrefix(host, "127.") {
			at[port] = host[strings.LastIndex(host, ":"):]
		}
	}
	for _, c := range []struct {
		from            *lab.Host
		proto, to, want string
	}{
		{out, "udp", "192.0.2.1:9000", "ninety 192.0.2.2"},
		{out, "udp", "192.0.2.1:9002", "ninety-two 192.0.2.2"},
		{out, "udp", "[2001:db8:1::1]:9000", "ninety 2001:db8:1::2"},
		{out, "udp", "192.0.2.1" + at["94/udp"], "exposed 192.0.2.2"},
		{p.Host, "udp", "127.0.0.1:9000", "ninety "},
		{out, "tcp", "192.0.2.1:9102", "eighty-two 192.0.2.2"},
	} {
		if got := c.from.Ask("", c.proto, c.to); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: %q, want %q", c.proto, c.to, got, c.want)
		}
	}
	for who, to := range map[string]string{"out": "192.0.2.1:9200", "out, by IPv6,": "[2001:db8:1::1]:9300"} {
		p.says(l, who, to, "web", curl(out, ""))
	}
	p.says(l, "the host", "127.0.0.1"+at["80/tcp"], "web", curl(p.Host, ""))
	if got := out.Ask("", "tcp", "192.0.2.1"+at["80/tcp"]); got != "" {
		t.Errorf("a port on 127.0.0.1 is reached from outside: %q", got)
	}
}

// podmanLeaves: a container goes on with what is left when it leaves one of its
// networks, whichever it is: the names, the default route, the addresses.
func podmanLeaves(t *testing.T, l *lab.Lab, p *podman) {
	p.serve("far", "--network", "back:alias=same")
	p.serve("near", "--network", "side:alias=same")
	p.serve("mover", "--network", "back", "--network", "side")
	p.asks(l, "mover", "far", "far")
	p.asks(l, "mover", "near", "near")
	for _, c := range []struct{ leaves, stays, gone, finds, gateway string }{
		{"back", "side", "far", "near", "10.79.0.1"},
		{"side", "back", "near", "far", "10.78.0.1"},
		{"back", "side", "far", "near", "10.79.0.1"},
	} {
		p.must("network", "disconnect", c.leaves, "mover")
		p.asks(l, "mover", c.finds, c.finds)
		p.asks(l, "mover", "same", c.finds)
		if got := p.must("exec", "mover", "ip", "route"); strings.Count(got, "default") != 1 || !strings.Contains(got, "default via "+c.gateway) {
			t.Errorf("routes after %s was left:\n%s", c.leaves, got)
		}
		p.must("network", "connect", "--alias", "moved", c.leaves, "mover")
		p.asks(l, "mover", c.gone, c.gone)
		p.asks(l, c.gone, "moved", "mover")
	}
	// In none, and in one again.
	p.must("network", "disconnect", "back", "mover")
	p.must("network", "disconnect", "side", "mover")
	if r := p.Try("inspect", "mover"); r.Code == 0 {
		t.Error("a container that has left all its networks is in some")
	}
	p.must("network", "connect", "--ip", "10.79.0.77", "side", "mover")
	p.asks(l, "mover", "near", "near")
	p.asks(l, "near", "10.79.0.77", "mover")
	p.must("restart", "-t0", "mover")
	p.asks(l, "mover", "near", "near")
	p.asks(l, "near", "mover", "mover")
	// Whoever shares a container's namespace shares its names.
	p.must("run", "-d", "--name", "rider", "--network", "container:mover", "busybox", "sleep", "600")
	p.asks(l, "rider", "near", "near")
	p.must("rm", "-f", "-t0", "rider")
	p.asks(l, "near", "mover", "mover")
}

// podmanFlushed: ports and names outlive a flush of everybody's rules, and
// Podman's reload of them.
func podmanFlushed(t *testing.T, l *lab.Lab, p *podman, out *lab.Host) {
	works := func(when string) {
		t.Helper()
		p.says(l, "out, "+when+",", "192.0.2.1:9100", "web", curl(out, ""))
		p.says(l, "the host, "+when+",", "127.0.0.1:9100", "web", curl(p.Host, ""))
		l.Eventually(soon, func() string {
			if got := out.Ask("", "udp", "192.0.2.1:9000"); !strings.HasPrefix(got, "ninety ") {
				return when + ", UDP: " + got
			}
			return ""
		})
		p.asks(l, "near", "mover", "mover")
	}
	for _, flush := range []string{"nft flush ruleset", "iptables -F", "iptables -t nat -F", "ip6tables -F"} {
		p.MustRun(strings.Fields(flush)[0], strings.Fields(flush)[1:]...)
		works("after " + flush)
	}
	p.must("network", "reload", "near")
	p.must("network", "reload", "--all")
	works("after a reload")
}

// podmanKilled: the daemon is killed while a container is made. The next one of
// the name is whole, and nothing is left of the first.
func podmanKilled(t *testing.T, l *lab.Lab, p *podman) {
	flags := []string{"--network", "side:ip=10.79.0.99", "-p", "9500:80"}
	run := p.Start("env", p.command(append(append([]string{"run", "-d", "--name", "torn"}, flags...), "busybox", "sleep", "600")...)...)
	p.Kill()
	run.Wait()
	p.Daemon()
	p.must("rm", "-f", "-i", "-t0", "torn")
	if r := p.Try("inspect", "torn"); r.Code == 0 {
		t.Error("it was removed, and is still in its network")
	}
	p.serve("torn", flags...)
	p.asks(l, "near", "10.79.0.99", "torn")
	p.says(l, "the host", "127.0.0.1:9500", "torn", curl(p.Host, ""))
	p.must("rm", "-f", "-t0", "torn")
}

// podmanRefused: what catenet does not do is refused by its name, and nothing is
// left of it.
func podmanRefused(t *testing.T, p *podman) {
	p.MustRun("ip", "link", "add", "trunk", "type", "veth", "peer", "name", "trunk1")
	for _, c := range []struct{ words, create string }{
		{"network odd: there is no driver", "-d macvlan -o parent=trunk --subnet 10.85.0.0/24"},
		{"vlan", "-o vlan=7 --subnet 10.85.0.0/24"},
		{"99999", "-o mtu=99999 --subnet 10.85.0.0/24"},
	} {
		p.must(append(append([]string{"network", "create"}, strings.Fields(c.create)...), "odd")...)
		p.refused([]string{"netavark", c.words}, "run", "--rm", "--name", "odd", "--network", "odd", "busybox", "sleep", "9")
		p.must("network", "rm", "odd")
		if r := p.Try("network", "inspect", "odd"); r.Code == 0 {
			t.Errorf("%s: refused, and made", c.create)
		}
	}
	// A network of ours that Podman does not know of has the subnet.
	p.Catenet("network", "create", "--subnet", "10.86.0.0/24", "taken")
	p.refused([]string{"10.86.0.0/25", "already used"}, "network", "create", "--subnet", "10.86.0.0/25", "odd")
	// One that is in use is not removed; one whose containers have stopped is.
	p.refused([]string{"being used"}, "network", "rm", "side")
	p.must("stop", "-t0", "near", "mover")
	podmanRemoves(t, p)
}

// podmanRemoves: a network that Podman has removed goes when the next one is made, and
// its subnet is Podman's to give again.
func podmanRemoves(t *testing.T, p *podman) {
	p.must("network", "rm", "-f", "side")
	p.must("network", "create", "--subnet", "10.87.0.0/24", "next")
	p.must("run", "--rm", "--network", "next", "busybox", "sleep", "0")
	if r := p.Try("network", "inspect", "side"); r.Code == 0 {
		t.Error("Podman has removed side, and it is here still")
	}
	if r := p.Try("network", "inspect", "front", "back", "taken"); r.Code != 0 {
		t.Errorf("removed as well: %s", r.Text())
	}
	p.must("network", "create", "--subnet", "10.79.0.0/24", "aside")
	if got := p.must("run", "--rm", "--network", "aside", "busybox", "ip", "address"); !strings.Contains(got, "10.79.0.") {
		t.Errorf("in the subnet of what was removed: %s", got)
	}
}
