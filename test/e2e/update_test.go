package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestANetworkIsUpdatedUnderTraffic: nobody who is in it loses a stream or a
// packet, and who comes later is as much in it as they are.
func TestANetworkIsUpdatedUnderTraffic(t *testing.T) {
	g := newGround(t)
	asked := g.upstream()
	g.a.Catenet("network", "create", "--subnet", "10.8.0.0/24", "--ip-range", "10.8.0.0/30", "--ipv6", "--label", "old=1", "front")
	g.idle("db", "--network", "front", "-p", "8080:80", "-p", "8080:80/udp")
	g.idle("web", "--network", "front")
	g.a.Refused([]string{"no address left", "catenet network update"}, "run", "-d", "--network", "front", "--", "sleep", "60")

	n := newNumbers(t)
	n.serve(g.ns("db"), 80)
	n.stream(g.ns("web"), at(g.addr4("db"), 80))
	n.stream(g.out.NS.Path, at(g.a.Addr4, 8080))
	n.packets(g.ns("web"), at(g.addr4("db"), 80), 200)
	n.packets(g.out.NS.Path, at(g.a.Addr4, 8080), 200)

	got := g.a.Catenet("network", "update", "--label-add", "new=2", "--label-rm", "old", "--dns-add", g.out.Addr4.String(), "--mtu", "1400",
		"--subnet", "10.9.0.0/29", "--gateway", "10.9.0.6", "--aux-address", "nas=10.9.0.1", "--subnet", "fd00:9::/64", "front")
	if got != "front" {
		t.Errorf("update says %q", got)
	}
	g.serve("late", "--network", "front", "-p", "8081:80")
	for _, daemon := range []string{"that updated it", "after that was killed"} {
		t.Log("the daemon ", daemon)
		g.updated()
		g.grown("late")
		g.a.Kill()
		g.a.Daemon()
	}
	g.out.MustRun("ip", "route", "add", "10.9.0.0/29", "via", g.a.Addr4.String())
	g.silent(g.out, "", "tcp", at(g.addr4("late"), 80))
	if got := asked(); strings.Count(got, "query[a] example.test") != 2 {
		t.Errorf("the network's name server was asked %s", got)
	}
	n.stop()

	g.a.Catenet("network", "update", "--dns-rm", g.out.Addr4.String()+",192.0.2.99", "front")
	if got := g.a.Exec("web", "cat", "/etc/resolv.conf").Text(); strings.Contains(got, g.out.Addr4.String()) {
		t.Errorf("resolv.conf still has the name server: %s", got)
	}
	g.a.Refused([]string{"unknown flag", "stays as it was made"}, "network", "update", "--driver", "ptp", "front")
	g.a.Refused([]string{"nothing is to be changed"}, "network", "update", "front")
	g.a.Refused([]string{"overlaps 10.8.0.0/24"}, "network", "update", "--subnet", "10.8.0.0/25", "front")
	g.a.Refused([]string{"is in no --subnet"}, "network", "update", "--gateway", "10.8.0.9", "front")
}

// updated wants the bridge, and both ends of every veth, to have the new MTU,
// and containers to see what else was changed.
func (g *ground) updated() {
	g.T.Helper()
	for _, l := range strings.Split(g.a.MustRun("ip", "-o", "link"), "\n") {
		if (strings.Contains(l, ": br-") || strings.Contains(l, ": ctn")) && !strings.Contains(l, "mtu 1400") {
			g.T.Errorf("on the host: %s", l)
		}
	}
	for _, name := range []string{"db", "web", "late"} {
		if got := g.a.Exec(name, "ip", "link", "show", "eth0").Text(); !strings.Contains(got, "mtu 1400") {
			g.T.Errorf("in %s: %s", name, got)
		}
	}
	if got := g.a.Exec("web", "dig", "+short", "example.test").Text(); got != "203.0.113.7" {
		g.T.Errorf("the network's name server says %q", got)
	}
	if got := g.a.Exec("web", "cat", "/etc/resolv.conf").Text(); !strings.Contains(got, g.out.Addr4.String()) {
		g.T.Errorf("resolv.conf: %s", got)
	}
	got := g.a.Catenet("network", "inspect", "--format", "{{.Labels}}{{range .IPAM.Config}} {{.Subnet}}={{.Gateway}}{{end}}", "front")
	if !strings.HasPrefix(got, "map[new:2] 10.8.0.0/24=10.8.0.1 ") || !strings.HasSuffix(got, " 10.9.0.0/29=10.9.0.6 fd00:9::/64=fd00:9::1") {
		g.T.Errorf("inspect: %s", got)
	}
}

// grown wants a container with an address of the new subnet to be in the
// network as the others are.
func (g *ground) grown(name string) {
	g.T.Helper()
	late := g.endpoint(name)
	if late.IPv4.String() != "10.9.0.2/29" || late.Gateway4.String() != "10.9.0.6" {
		g.T.Errorf("%s has %s by %s", name, late.IPv4, late.Gateway4)
	}
	for _, ns := range []string{g.a.NS.Path, g.ns("web")} {
		g.answers(g.a, ns, "tcp", at(late.IPv4.Addr(), 80), name)
		g.answers(g.a, ns, "tcp", at(late.IPv6.Addr(), 80), name)
	}
	if got := g.a.Exec("web", "dig", "+short", name).Text(); got != late.IPv4.Addr().String() {
		g.T.Errorf("web knows %s as %q", name, got)
	}
	for _, to := range []string{"10.9.0.6", g.addr4("web").String(), g.out.Addr4.String()} {
		if r := g.a.Exec(name, "ping", "-c1", "-W2", to); r.Code != 0 {
			g.T.Errorf("%s does not reach %s: %s", name, to, r.Text())
		}
	}
	if got := g.a.Exec(name, "cat", "/etc/hosts").Text(); !strings.Contains(got, "10.9.0.2") {
		g.T.Errorf("/etc/hosts: %s", got)
	}
	// It is hidden behind the host, and published by it.
	seen := g.out.Start("tcpdump", "-ni", "eth0", "-c", "1", "-l", "icmp[icmptype] == icmp-echo")
	g.Eventually(soon, func() string {
		g.a.Exec(name, "ping", "-c1", "-W1", g.out.Addr4.String())
		if out := seen.Output(); !strings.Contains(out, fmt.Sprintf("IP %s > %s", g.a.Addr4, g.out.Addr4)) {
			return "seen outside: " + out
		}
		return ""
	})
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8081), name)
}

// TestSubnetsOfOneNetwork: what is in another subnet of the network is on the
// same bridge, with no way round by the host; without icc it is as far away as
// everybody else.
func TestSubnetsOfOneNetwork(t *testing.T) {
	g := newGround(t)
	for i, flags := range [][]string{{"--internal"}, {"-o", "com.docker.network.bridge.enable_icc=false"}} {
		name := fmt.Sprintf("net%d", i)
		g.a.Catenet(append([]string{"network", "create", "--subnet", fmt.Sprintf("10.%d.0.0/24", i), "--subnet", fmt.Sprintf("10.%d.1.0/24", i)}, append(flags, name)...)...)
		for sub, who := range []string{"one", "two"} {
			g.serve(fmt.Sprint(who, i), "--network", fmt.Sprintf("%s:ip=10.%d.%d.9", name, i, sub), "--expose", "80")
		}
	}
	g.answers(g.a, g.ns("one0"), "tcp", "10.0.1.9:80", "two0")
	g.answers(g.a, g.ns("two0"), "udp", "10.0.0.9:80", "one0")
	if got := g.a.Exec("one0", "ip", "neigh", "show", "10.0.1.9").Text(); !strings.Contains(got, "lladdr") {
		t.Errorf("two0 is no neighbour of one0: %q", got)
	}
	g.silent(g.a, g.ns("one1"), "tcp", "10.1.1.9:80")
	g.idle("three1", "--network", "net1:ip=10.1.0.10", "--link", "two1:far")
	g.answers(g.a, g.ns("three1"), "tcp", "10.1.1.9:80", "two1")
	g.silent(g.a, g.ns("one0"), "tcp", "10.1.1.9:80")
}
