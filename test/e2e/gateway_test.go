package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// way is a question and who has to answer it, over TCP and UDP; "" is nobody.
type way struct {
	from *lab.Host
	ns   string
	to   string
	want string
}

// ways asks all at once: those that nobody answers take seconds each.
func (g *ground) ways(ways ...way) {
	g.T.Helper()
	var asked sync.WaitGroup
	for _, w := range ways {
		for _, proto := range []string{"tcp", "udp"} {
			asked.Go(func() {
				ask := w.from.Ask
				if w.want != "" {
					ask = func(ns, proto, to string) string { return g.hears(w.from, ns, proto, to) }
				}
				got := ask(w.ns, proto, w.to)
				if who, _, _ := strings.Cut(got, " "); who != w.want {
					g.T.Errorf("%s %s asked from %s %s: answer %q, want %q's", proto, w.to, w.from.Name, w.ns, got, w.want)
				}
			})
		}
	}
	asked.Wait()
}

// pings reports whether an echo request is answered.
func (g *ground) pings(h *lab.Host, to netip.Addr) bool {
	return h.Run("ping", "-n", "-c2", "-i0.2", "-W1", to.String()).Code == 0
}

// eachBridgeFilter runs a test with bridged frames passing the IP firewall
// and without; where the kernel cannot, in the one way there is.
func eachBridgeFilter(t *testing.T, test func(*testing.T, *ground)) {
	const key = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	values := []string{"0", "1"}
	if _, err := os.Stat(key); err != nil {
		values = []string{""}
	}
	for _, value := range values {
		t.Run("bridge-nf="+value, func(t *testing.T) {
			g := newGround(t)
			if value != "" {
				g.a.MustRun("sh", "-c", "for f in "+key+" /proc/sys/net/bridge/bridge-nf-call-ip6tables; do echo "+value+" >$f; done")
			}
			test(t, g)
		})
	}
}

// gateways are the options that set both families' modes.
func gateways(four, six string) []string {
	return []string{"-o", "com.docker.network.bridge.gateway_mode_ipv4=" + four, "-o", "com.docker.network.bridge.gateway_mode_ipv6=" + six}
}

// create makes a network with both families, n of the tests'.
func (g *ground) create(name string, n int, more ...string) {
	g.T.Helper()
	args := []string{"network", "create", "--ipv6", "--subnet", fmt.Sprintf("10.20.%d.0/24", n), "--subnet", fmt.Sprintf("fd00:20:%d::/64", n)}
	g.a.Catenet(append(append(args, more...), name)...)
}

// routesTo gives a neighbour routes to the first n networks of create.
func (g *ground) routesTo(h *lab.Host, via4, via6 netip.Addr, n int) {
	for i := range n {
		h.MustRun("ip", "route", "replace", fmt.Sprintf("10.20.%d.0/24", i), "via", via4.String())
		h.MustRun("ip", "route", "replace", fmt.Sprintf("fd00:20:%d::/64", i), "via", via6.String())
	}
}

func TestGatewayModes(t *testing.T) {
	eachBridgeFilter(t, func(t *testing.T, g *ground) {
		g.create("nat", 0)
		g.create("open", 1, gateways("nat-unprotected", "nat-unprotected")...)
		g.create("routed", 2, gateways("routed", "routed")...)
		g.create("mixed", 3, gateways("nat", "routed")...)
		g.routesTo(g.out, g.a.Addr4, g.a.Addr6, 4)
		for i, c := range []struct{ name, network string }{{"n", "nat"}, {"o", "open"}, {"r", "routed:ip=10.20.2.77"}, {"m", "mixed"}} {
			g.serve(c.name, "--network", c.network, "-p", fmt.Sprintf("%d:80", 8000+i), "-p", fmt.Sprintf("%d:80/udp", 8000+i))
		}
		g.serve("hidden", "--network", "routed")
		g.out.Serve("", 7000, "out")
		g.out.ServeUDP("", 7000, "out")

		own := func(c string) []string { return []string{at(g.addr4(c), 80), at(g.addr6(c), 80)} }
		host := func(port int) []string { return []string{at(g.a.Addr4, port), at(g.a.Addr6, port)} }
		var ways []way
		from := func(h *lab.Host, container string) func(to []string, want4, want6 string) {
			ns := ""
			if container != "" {
				ns = g.ns(container)
			}
			return func(to []string, want4, want6 string) {
				ways = append(ways, way{h, ns, to[0], want4}, way{h, ns, to[1], want6})
			}
		}
		ask := from(g.out, "")
		ask(own("n"), "", "")
		ask(host(8000), "n", "n")
		ask(own("o"), "o", "o")
		ask(host(8001), "o", "o")
		ask(own("r"), "r", "r")
		ask(own("hidden"), "", "")
		ask(host(8002), "", "")
		ask(own("m"), "", "m")
		ask(host(8003), "m", "")
		ask = from(g.a, "n") // a container of another network
		ask(own("r"), "r", "r")
		ask(own("hidden"), "", "")
		ask(own("o"), "", "")
		ask(host(8001), "o", "o")
		ask = from(g.a, "r")
		ask(own("hidden"), "hidden", "hidden")
		ask(own("n"), "", "")
		ask(host(8000), "n", "n")
		ask(own("m"), "", "m")
		ask = from(g.a, "") // the host itself
		ask(own("hidden"), "hidden", "hidden")
		ask([]string{"127.0.0.1:8002", "[::1]:8002"}, "", "")
		ask([]string{"127.0.0.1:8003", "[::1]:8003"}, "m", "")
		g.ways(ways...)

		for c, want := range map[string]bool{"n": false, "o": true, "hidden": true} {
			for _, to := range []netip.Addr{g.addr4(c), g.addr6(c)} {
				if got := g.pings(g.out, to); got != want {
					t.Errorf("%s answers echo requests to %s from outside: %v", c, to, got)
				}
			}
		}
		for c, seen := range map[string][2]netip.Addr{
			"n": {g.a.Addr4, g.a.Addr6}, "o": {g.a.Addr4, g.a.Addr6}, "r": {g.addr4("r"), g.addr6("r")}, "m": {g.a.Addr4, g.addr6("m")},
		} {
			for i, to := range []netip.Addr{g.out.Addr4, g.out.Addr6} {
				if got, want := g.hears(g.a, g.ns(c), "udp", at(to, 7000)), "out "+seen[i].String(); got != want {
					t.Errorf("%s outside is answered %q, want %q", c, got, want)
				}
			}
		}
	})
}

func TestRoutedPorts(t *testing.T) {
	g := newGround(t)
	g.create("routed", 0, gateways("routed", "routed")...)
	g.routesTo(g.out, g.a.Addr4, g.a.Addr6, 1)
	g.serve("r", "--network", "routed:ip=10.20.0.77,ip6=fd00:20:0::77", "-p", "8000:80", "-p", "8000:80/udp", "-p", "81")
	want := "81/tcp -> 0.0.0.0:\n81/tcp -> [::]:\n80/tcp -> 0.0.0.0:\n80/tcp -> [::]:\n80/udp -> 0.0.0.0:\n80/udp -> [::]:"
	if got := g.a.Catenet("port", "r"); !sameLines(got, want) {
		t.Errorf("catenet port prints\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(status(g.a, "r").Warnings, "\n"); strings.Count(got, "not on the host") != 2 || strings.Contains(got, "81/tcp") {
		t.Errorf("two ports of the host were asked for and are none: %q", got)
	}
	g.a.Serve("", 8000, "host") // it is free

	// The daemon is no part of the way, and a start opens nothing.
	open := []way{{g.out, "", "10.20.0.77:80", "r"}, {g.out, "", "[fd00:20:0::77]:80", "r"}}
	g.serve("hidden", "--network", "routed")
	g.a.Kill()
	g.ways(open...)
	g.a.Daemon()
	g.ways(append(open, way{g.out, "", at(g.addr4("hidden"), 80), ""}, way{g.out, "", at(g.addr6("hidden"), 80), ""})...)

	// Another container with its address inherits nothing, not even a flow.
	flows := func() string { return g.a.MustRun("conntrack", "-L", "-p", "udp", "--orig-dst", "10.20.0.77") }
	if flows() == "" {
		t.Fatal("the flow is not tracked: this test proves nothing")
	}
	g.a.Catenet("rm", "-f", "r")
	g.Eventually(soon, flows)
	g.serve("heir", "--network", "routed:ip=10.20.0.77,ip6=fd00:20:0::77")
	g.ways(way{g.out, "", "10.20.0.77:80", ""}, way{g.out, "", "[fd00:20:0::77]:80", ""})
}

// sameLines compares without the order.
func sameLines(a, b string) bool {
	count := func(s string) map[string]int {
		m := make(map[string]int)
		for line := range strings.Lines(s + "\n") {
			m[strings.TrimSpace(line)]++
		}
		delete(m, "")
		return m
	}
	return fmt.Sprint(count(a)) == fmt.Sprint(count(b))
}

func TestTrustedLinks(t *testing.T) {
	g := newGround(t)
	near := g.Host("near")
	g.Join(g.a, near, "198.51.100.0/24", "2001:db8:2::/64") // eth1
	g.create("inner", 0, "-o", "com.docker.network.bridge.trusted_host_interfaces=eth9:eth1")
	g.create("other", 1)
	g.routesTo(g.out, g.a.Addr4, g.a.Addr6, 2)
	g.routesTo(near, netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:2::1"), 2)
	g.serve("web", "--network", "inner", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp", "-p", "[::1]:8080:80", "-p", "[::1]:8080:80/udp")
	g.serve("hidden", "--network", "inner")
	g.serve("far", "--network", "other", "-p", "8081:80", "-p", "8081:80/udp")
	var ways []way
	for _, c := range []struct {
		name string
		want string
	}{{"web", "web"}, {"hidden", ""}, {"far", ""}} {
		for _, to := range []netip.Addr{g.addr4(c.name), g.addr6(c.name)} {
			ways = append(ways, way{near, "", at(to, 80), c.want}, way{g.out, "", at(to, 80), ""})
		}
	}
	g.ways(append(ways, way{near, "", "198.51.100.1:8080", ""}, way{near, "", "198.51.100.1:8081", "far"}, way{g.a, g.ns("far"), at(g.addr4("web"), 80), ""})...)
}

func TestContainersAreSeenAsAnAddressOfTheHost(t *testing.T) {
	g := newGround(t)
	g.a.MustRun("ip", "addr", "add", "192.0.2.77/24", "dev", "eth0")
	g.a.MustRun("ip", "addr", "add", "2001:db8:1::77/64", "dev", "eth0", "nodad", "preferred_lft", "0")
	g.create("front", 0, "-o", "com.docker.network.host_ipv4=192.0.2.77", "-o", "com.docker.network.host_ipv6=2001:db8:1::77")
	if got := g.a.Try("network", "create", "-o", "com.docker.network.host_ipv4=192.0.2.88", "lost").Text(); !strings.Contains(got, "192.0.2.88 is no address of this host") {
		t.Errorf("an address that the host has not is worth a word: %s", got)
	}
	g.create("plain", 1)
	g.out.Serve("", 7000, "out")
	g.out.ServeUDP("", 7000, "out")
	g.serve("web", "--network", "front", "-p", "8080:80", "-p", "8080:80/udp")
	g.serve("db", "--network", "plain")
	for _, proto := range []string{"tcp", "udp"} {
		for c, seen := range map[string][2]string{"web": {"192.0.2.77", "2001:db8:1::77"}, "db": {"192.0.2.1", "2001:db8:1::1"}} {
			for i, to := range []netip.Addr{g.out.Addr4, g.out.Addr6} {
				if got := g.hears(g.a, g.ns(c), proto, at(to, 7000)); got != "out "+seen[i] {
					t.Errorf("%s outside is answered %q over %s, want %s", c, got, proto, seen[i])
				}
			}
		}
	}
	// It is no matter of those who come in.
	if got := g.out.Ask("", "tcp", "192.0.2.77:8080"); got != "web "+g.out.Addr4.String() {
		t.Errorf("the container saw %q", got)
	}
	g.answers(g.a, g.ns("web"), "tcp", "192.0.2.77:8080", "web")
}
