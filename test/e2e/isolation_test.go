package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func TestNetworksReachThemselvesAndNotEachOther(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("network", "create", "--ipv6", "back")
	g.serve("web", "--network", "front")
	g.serve("db", "--network", "front")
	g.serve("stranger", "--network", "back")
	for _, proto := range []string{"tcp", "udp"} {
		g.answers(g.a, g.ns("web"), proto, at(g.addr4("db"), 80), "db")
		g.answers(g.a, g.ns("web"), proto, at(g.addr6("db"), 80), "db")
		g.silent(g.a, g.ns("stranger"), proto, at(g.addr4("db"), 80))
		g.silent(g.a, g.ns("stranger"), proto, at(g.addr6("db"), 80))
		g.silent(g.a, g.ns("db"), proto, at(g.addr4("stranger"), 80))
	}
	// The host itself is trusted with its containers.
	g.answers(g.a, "", "tcp", at(g.addr4("db"), 80), "db")

	// Joined to both, web reaches both.
	g.a.Catenet("network", "connect", "back", "web")
	g.answers(g.a, g.ns("web"), "tcp", at(g.addr4("stranger"), 80), "stranger")
	g.a.Catenet("network", "disconnect", "back", "web")
	g.silent(g.a, g.ns("web"), "tcp", at(g.addr4("stranger"), 80))
}

func TestOutsideIsReachedMasqueradedAndReachesNobody(t *testing.T) {
	g := newGround(t)
	g.out.Serve("", 7000, "out")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("network", "create", "--internal", "--ipv6", "inner")
	g.serve("web", "--network", "front")
	g.serve("vault", "--network", "inner")
	if got := g.a.Ask(g.ns("web"), "tcp", at(g.out.Addr4, 7000)); got != "out "+g.a.Addr4.String() {
		t.Errorf("outside saw %q, want the host's address %s", got, g.a.Addr4)
	}
	if got := g.a.Ask(g.ns("web"), "tcp", at(g.out.Addr6, 7000)); got != "out "+g.a.Addr6.String() {
		t.Errorf("outside saw %q, want the host's address %s", got, g.a.Addr6)
	}
	g.silent(g.a, g.ns("vault"), "tcp", at(g.out.Addr4, 7000))
	g.silent(g.a, g.ns("vault"), "tcp", at(g.out.Addr6, 7000))

	// A neighbour on the LAN that makes itself a route gets nothing.
	for _, c := range []string{"web", "vault"} {
		g.out.MustRun("ip", "route", "replace", g.endpoint(c).IPv4.Masked().String(), "via", g.a.Addr4.String())
		g.out.MustRun("ip", "route", "replace", g.endpoint(c).IPv6.Masked().String(), "via", g.a.Addr6.String())
		for _, proto := range []string{"tcp", "udp"} {
			g.silent(g.out, "", proto, at(g.addr4(c), 80))
			g.silent(g.out, "", proto, at(g.addr6(c), 80))
		}
	}
}

func TestIccOff(t *testing.T) {
	const key = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	values := []string{"0", "1"}
	if _, err := os.Stat(key); err != nil {
		values = []string{""} // no br_netfilter: the one way there is
	}
	for _, value := range values {
		t.Run("bridge-nf="+value, func(t *testing.T) {
			g := newGround(t)
			if value != "" {
				g.a.MustRun("sh", "-c", "for f in "+key+" /proc/sys/net/bridge/bridge-nf-call-ip6tables; do echo "+value+" >$f; done")
			}
			g.a.Catenet("network", "create", "--ipv6", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
			g.serve("web", "--network", "quiet", "-p", "8080:80", "-p", "8080:80/udp")
			g.serve("db", "--network", "quiet")
			g.out.Serve("", 7000, "out")
			g.silent(g.a, g.ns("web"), "tcp", at(g.addr4("db"), 80))
			g.silent(g.a, g.ns("web"), "udp", at(g.addr6("db"), 80))
			g.silent(g.a, g.ns("db"), "tcp", at(g.addr4("web"), 80)) // published or not
			// What is published is reached by any address of the host, by
			// the other container and by the publisher itself.
			gateway := func(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }
			ep := g.endpoint("web")
			for _, who := range []string{"db", "web"} {
				for _, host := range []netip.Addr{g.a.Addr4, gateway(ep.IPv4), g.a.Addr6, gateway(ep.IPv6)} {
					for _, proto := range []string{"tcp", "udp"} {
						g.answers(g.a, g.ns(who), proto, at(host, 8080), "web")
					}
					g.silent(g.a, g.ns(who), "tcp", at(host, 80)) // not published
				}
			}
			// A detour by the host is no way around.
			for _, to := range []netip.Addr{g.addr4("db"), g.addr6("db")} {
				via := gateway(ep.IPv4)
				if to.Is6() {
					via = gateway(ep.IPv6)
				}
				g.a.MustRun("nsenter", "--net="+g.ns("web"), "ip", "route", "add", to.String(), "via", via.String())
				g.silent(g.a, g.ns("web"), "tcp", at(to, 80))
			}
			// The gateway, and what is behind it, stay in reach.
			if got := g.a.Ask(g.ns("db"), "tcp", at(g.out.Addr4, 7000)); !strings.HasPrefix(got, "out") {
				t.Errorf("a container cannot reach the outside: %q", got)
			}
			g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
			if got := strings.TrimSpace(g.a.MustRun("cat", key)); got != value {
				t.Errorf("%s was %s and is %s: others' rules rest on it", key, value, got)
			}
		})
	}
}

func TestDefaultRouteGoesByPriority(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "alpha")
	g.a.Catenet("network", "create", "beta")
	g.idle("plain", "--network", "alpha", "--network", "beta")
	g.idle("chosen", "--network", "alpha", "--network", "beta:gw-priority=5,interface_name=up0")
	if out := g.a.Exec("plain", "ip", "route", "show", "default").Text(); !strings.Contains(out, "dev eth0") {
		t.Errorf("without priorities the default route is %q, want that of alpha", out)
	}
	if out := g.a.Exec("chosen", "ip", "route", "show", "default").Text(); !strings.Contains(out, "dev up0") {
		t.Errorf("the default route is %q, want that of beta", out)
	}
}

// TestDefaultRouteMoves has the network of the default route be left, and one
// of a higher priority be joined.
func TestDefaultRouteMoves(t *testing.T) {
	g := newGround(t)
	g.out.Serve("", 7000, "out")
	for _, n := range []string{"alpha", "beta", "gamma"} {
		g.a.Catenet("network", "create", "--ipv6", n)
	}
	g.idle("web", "--network", "alpha", "--network", "beta")
	leads := func(link, network string) {
		t.Helper()
		var ep catenet.Endpoint
		for _, e := range status(g.a, "web").Endpoints {
			if e.Spec.Network == network {
				ep = e
			}
		}
		for family, want := range map[string]netip.Addr{"-4": ep.Gateway4, "-6": ep.Gateway6} {
			got := g.a.Exec("web", "ip", family, "route", "show", "default").Text()
			if !strings.HasPrefix(got, "default via "+want.String()+" dev "+link+" ") || strings.Contains(got, "\n") {
				t.Errorf("the default route is %q, want one by %s of %s", got, link, network)
			}
		}
		for _, to := range []netip.Addr{g.out.Addr4, g.out.Addr6} {
			if got := g.a.Ask(g.ns("web"), "tcp", at(to, 7000)); !strings.HasPrefix(got, "out") {
				t.Errorf("with the default route by %s, %s answers %q", network, to, got)
			}
		}
	}
	leads("eth0", "alpha")
	g.a.Catenet("network", "disconnect", "alpha", "web")
	leads("eth1", "beta")
	g.a.Catenet("network", "connect", "--gw-priority", "7", "--interface-name", "up0", "gamma", "web")
	leads("up0", "gamma")
	g.a.Catenet("network", "connect", "alpha", "web") // no change
	leads("up0", "gamma")
	g.a.Catenet("network", "disconnect", "gamma", "web")
	g.a.Catenet("network", "disconnect", "beta", "web")
	leads("eth0", "alpha")
}
