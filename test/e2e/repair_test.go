package e2e

import (
	"strings"
	"testing"
)

// TestLeavingANetworkIsNoLoss takes a container out of a network, which is no
// work for the repair, and then takes a link from it, which is.
func TestLeavingANetworkIsNoLoss(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "back")
	g.a.Catenet("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "front")
	g.idle("web", "--network", "back", "--network", "front")
	g.a.Catenet("network", "disconnect", "back", "web")
	g.a.MustRun("nsenter", "--net="+g.ns("web"), "ip", "addr", "flush", "dev", "eth1")
	g.Eventually(soon, func() string {
		if !strings.Contains(g.a.Log(), "put back what container's network lost") {
			return "nothing was put back"
		}
		return ""
	})
	if n := strings.Count(g.a.Log(), "put back"); n != 1 {
		t.Errorf("%d repairs are told:\n%s", n, g.a.Log())
	}
}

// TestANetworkComesUpOnceItCan has a link of somebody else's take its bridge's
// name while no daemon is there.
func TestANetworkComesUpOnceItCan(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "-o", "com.docker.network.bridge.name=front0", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.a.Stop()
	g.Eventually(soon, func() string {
		if g.a.Try("info").Code == 0 {
			return "the daemon goes on"
		}
		return ""
	})
	g.a.MustRun("ip", "link", "del", "front0")
	g.a.MustRun("ip", "link", "add", "front0", "type", "bridge")
	g.a.Daemon()
	if got := g.a.Catenet("info"); !strings.Contains(got, "network front is down") {
		t.Errorf("info: %s", got)
	}
	g.a.MustRun("ip", "link", "del", "front0")
	g.Eventually(soon, func() string {
		if got := g.a.Catenet("info"); strings.Contains(got, "is down") {
			return got
		}
		if g.a.Ask(g.ns("web"), "tcp", g.addr4("web").String()+":80") == "" || g.out.Ask("", "tcp", "192.0.2.1:8080") == "" {
			return "web does not answer"
		}
		return ""
	})
}

// TestWhatIsBrokenInsideIsMended: root in a container takes away what it
// resolves names by, and its way out.
func TestWhatIsBrokenInsideIsMended(t *testing.T) {
	g := newGround(t)
	g.out.Serve("", 7000, "out")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.idle("web", "--network", "front")
	g.idle("db", "--network", "front")
	want := g.addr4("db").String()
	whole := func() string {
		if got := g.a.Exec("web", "dig", "+short", "+time=1", "+tries=1", "db").Text(); got != want {
			return "db is " + got
		}
		if g.a.Ask(g.ns("web"), "tcp", at(g.out.Addr4, 7000)) == "" || g.a.Ask(g.ns("web"), "tcp", at(g.out.Addr6, 7000)) == "" {
			return "the outside is not reached"
		}
		return ""
	}
	g.Eventually(soon, whole)
	for _, harm := range []string{"nft flush ruleset", "nft flush table ip catenet", "ip link set lo down", "ip route del default", "ip -6 route del default"} {
		g.a.MustRun("nsenter", append([]string{"--net=" + g.ns("web")}, strings.Fields(harm)...)...)
		g.Eventually(soon, whole)
	}
}
