package e2e

import (
	"strings"
	"testing"
)

// TestAContainerIsChangedUnderTraffic: ports are published, led elsewhere and
// closed, and it gets another name, while streams and packets by its other port
// go on. What was begun by a port that is closed does not; and a daemon that is
// killed has it all as it was changed.
func TestAContainerIsChangedUnderTraffic(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--subnet", "10.8.0.0/24", "--ipv6", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.a.Serve(g.ns("web"), 81, "other")
	g.idle("near", "--network", "front")
	n := newNumbers(t)
	n.serve(g.ns("web"), 90)
	g.a.Catenet("update", "-p", "9000:90", "-p", "9000:90/udp", "web")
	n.stream(g.out.NS.Path, at(g.a.Addr4, 9000))
	n.packets(g.out.NS.Path, at(g.a.Addr4, 9000), 200)
	n.stream(g.a.NS.Path, "127.0.0.1:9000")
	n.stream(g.ns("near"), at(g.addr4("web"), 90))

	g.a.Catenet("update", "-p", "8081:80", "-p", "8082:80/udp", "web")
	everywhere := func(port int, who string) {
		t.Helper()
		for _, to := range []string{at(g.a.Addr4, port), at(g.a.Addr6, port)} {
			g.answers(g.out, "", "tcp", to, who)
		}
		for _, to := range []string{"127.0.0.1", "[::1]"} {
			if got := g.a.Ask("", "tcp", strings.Replace(at(g.a.Addr4, port), g.a.Addr4.String(), to, 1)); !strings.HasPrefix(got, who) {
				t.Errorf("%s:%d answers %q", to, port, got)
			}
		}
	}
	everywhere(8081, "web")
	g.answers(g.out, "", "udp", at(g.a.Addr4, 8082), "web")
	g.a.Refused([]string{"8081", "taken"}, "run", "-d", "-p", "8081:80", "--", "sleep", "60")

	tracked := func() string { return g.a.MustRun("conntrack", "-L", "-p", "udp", "--orig-port-dst", "8082") }
	if tracked() == "" {
		t.Fatal("the flows are not tracked: this test proves nothing")
	}
	g.a.Catenet("update", "--unpublish", "8080:80", "-p", "8080:81", "--unpublish", "8082:80/udp", "web")
	everywhere(8080, "other")
	if got := tracked(); strings.Contains(got, "10.8.0.2") {
		t.Errorf("flows of a closed port are left:\n%s", got)
	}
	g.silent(g.out, "", "udp", at(g.a.Addr4, 8082))
	g.idle("takes", "-p", "8082:80/udp") // the port is free

	g.a.Catenet("rename", "web", "shop")
	g.a.Catenet("network", "update", "--name", "back", "front")
	for _, daemon := range []string{"that changed it", "after that was killed"} {
		for name, want := range map[string]string{"shop": g.addr4("shop").String(), "shop.back": g.addr4("shop").String()} {
			if got := g.a.Exec("near", "dig", "+short", name).Text(); got != want {
				t.Errorf("the daemon %s: %s is %q", daemon, name, got)
			}
		}
		if got := g.a.Exec("near", "dig", "+time=1", "+tries=1", "web.back").Text(); strings.Contains(got, g.addr4("shop").String()) {
			t.Errorf("the daemon %s: it is found by its old name: %s", daemon, got)
		}
		if got := g.a.Exec("shop", "cat", "/etc/hosts").Text(); !strings.Contains(got, " shop") || strings.Contains(got, " web") {
			t.Errorf("the daemon %s: its hosts file says\n%s", daemon, got)
		}
		everywhere(8080, "other")
		everywhere(8081, "web")
		g.a.Kill()
		g.a.Daemon()
	}
	n.stop()
}

// TestWhatLiesBehindAContainer is reached by the network's static route, from
// the start and after somebody has removed it.
func TestWhatLiesBehindAContainer(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--subnet", "10.8.0.0/24", "--subnet", "fd00:8::/64", "--set-aside", "10.8.0.2-10.8.0.9",
		"--route", "10.77.0.0/16,10.8.0.7", "--route", "fd00:77::/64,fd00:8::7,5", "front")
	g.idle("router", "--network", "front:ip=10.8.0.7,ip6=fd00:8::7")
	g.a.Exec("router", "ip", "addr", "add", "10.77.0.1/32", "dev", "lo")
	g.a.Exec("router", "ip", "addr", "add", "fd00:77::1/128", "dev", "lo")
	g.idle("web", "--network", "front")
	if got := g.addr4("web").String(); got != "10.8.0.10" {
		t.Errorf("web has %s, which is set aside", got)
	}
	reached := func() (bad string) {
		for _, to := range []string{"10.77.0.1", "fd00:77::1"} {
			if r := g.a.Exec("web", "ping", "-c1", "-W1", to); r.Code != 0 {
				bad += to + " is not reached: " + r.Text()
			}
		}
		return bad
	}
	if bad := reached(); bad != "" {
		t.Error(bad)
	}
	g.a.Exec("web", "ip", "route", "del", "10.77.0.0/16")
	g.a.Exec("web", "ip", "-6", "route", "del", "fd00:77::/64")
	g.Eventually(soon, reached)
	if got := g.a.Exec("web", "ip", "-6", "route", "show", "fd00:77::/64").Text(); !strings.Contains(got, "via fd00:8::7") || !strings.Contains(got, "metric 5") {
		t.Errorf("the route is %q", got)
	}
	g.a.Kill()
	g.a.Daemon()
	if bad := reached(); bad != "" {
		t.Errorf("after a start: %s", bad)
	}
	g.a.Catenet("network", "disconnect", "front", "web")
	if got := g.a.Exec("web", "ip", "route").Text(); got != "" {
		t.Errorf("it has left, and has %q", got)
	}
}
