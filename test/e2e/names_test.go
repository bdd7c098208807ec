package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("network", "create", "four")
	g.idle("db", "--network", "front:alias=store", "--network-alias", "base")
	g.idle("web", "--network", "front", "--hostname", "www", "--add-host", "printer:203.0.113.9", "--add-host", "outside:host-gateway")
	g.idle("lone", "--network", "four")
	dig := func(from string, args ...string) string {
		t.Helper()
		return g.a.Exec(from, append([]string{"dig", "+tries=1", "+time=2"}, args...)...).Text()
	}
	id := status(g.a, "db").ID[:12]
	for _, name := range []string{"db", "db.front", "store", "base", id} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			if got := dig("web", transport, "+short", name); got != g.addr4("db").String() {
				t.Errorf("%s is %q (%s), want %s", name, got, transport, g.addr4("db"))
			}
			if got := dig("web", transport, "+short", name, "AAAA"); got != g.addr6("db").String() {
				t.Errorf("AAAA of %s is %q (%s), want %s", name, got, transport, g.addr6("db"))
			}
		}
	}
	for _, a := range []netip.Addr{g.addr4("db"), g.addr6("db")} {
		if got := dig("web", "+short", "-x", a.String()); !strings.HasPrefix(got, "db.front") {
			t.Errorf("the name of %s is %q", a, got)
		}
	}
	// A name that has no address of a family exists all the same.
	if got := dig("lone", "lone", "AAAA"); !strings.Contains(got, "NOERROR") || strings.Contains(got, "ANSWER SECTION") {
		t.Errorf("AAAA of a name that has only IPv4: %s", got)
	}
	if got := dig("lone", "+short", "db"); got != "" && !strings.Contains(got, ";;") {
		t.Errorf("db is known in a network it is not in: %s", got)
	}
	if got := dig("web", "+short", "printer"); got != "203.0.113.9" {
		t.Errorf("printer is %q", got)
	}
	hosts := g.a.Exec("web", "cat", "/etc/hosts").Text()
	for _, want := range []string{g.addr4("web").String(), "www", "203.0.113.9", "printer", "outside", "127.0.0.1"} {
		if !strings.Contains(hosts, want) {
			t.Errorf("/etc/hosts lacks %s:\n%s", want, hosts)
		}
	}
	if got := g.a.Exec("web", "cat", "/etc/resolv.conf").Text(); !strings.Contains(got, "nameserver 127.0.0.11") {
		t.Errorf("/etc/resolv.conf is %q", got)
	}
	if got := g.a.Exec("web", "hostname").Text() + g.a.Exec("web", "cat", "/etc/hostname").Text(); got != "wwwwww" {
		t.Errorf("the host name is %q", got)
	}

	// Names follow what happens.
	g.a.Catenet("network", "connect", "--alias", "visitor", "four", "web")
	if got := dig("lone", "+short", "visitor"); got == "" || strings.Contains(got, ";;") {
		t.Errorf("visitor is %q", got)
	}
	if got := g.a.Exec("web", "cat", "/etc/hosts").Text(); got == hosts {
		t.Error("/etc/hosts did not take in the new network")
	}
	g.a.Catenet("rm", "-f", "db")
	if got := dig("web", "+short", "db"); got != "" && !strings.Contains(got, ";;") {
		t.Errorf("db is gone, and still %q", got)
	}
}

// upstream starts a DNS server on the other host and returns its log, in small
// letters: queries mix them.
func (g *ground) upstream() func() string {
	log := g.Dir + "/dnsmasq.log"
	g.out.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
		"--conf-file=/dev/null", "--bind-interfaces", "--listen-address="+g.out.Addr4.String(),
		"--address=/example.test/203.0.113.7", "--log-queries", "--log-facility="+log)
	g.Eventually(soon, func() string {
		return strings.Repeat("dnsmasq does not listen", 1-min(1, strings.Count(g.out.MustRun("ss", "-Hlun"), ":53 ")))
	})
	return func() string {
		b, err := os.ReadFile(log)
		if err != nil {
			g.T.Fatal(err)
		}
		return strings.ToLower(string(b))
	}
}

func TestForwardingAndInternalNetworks(t *testing.T) {
	g := newGround(t)
	asked := g.upstream()
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("network", "create", "--internal", "inner")
	dns := g.out.Addr4.String()
	g.idle("web", "--network", "front", "--dns", dns)
	g.idle("vault", "--network", "inner", "--dns", dns)
	g.idle("both", "--network", "inner", "--network", "front", "--dns", dns)

	if got := g.a.Exec("web", "dig", "+short", "www.example.test").Text(); got != "203.0.113.7" {
		t.Errorf("a name of the outside is %q", got)
	}
	if !strings.Contains(asked(), "www.example.test") {
		t.Fatal("the upstream logs no queries: this test proves nothing")
	}
	got := g.a.Exec("vault", "dig", "+tries=1", "+time=2", "secret.example.test").Text()
	if strings.Contains(got, "203.0.113.7") || strings.Contains(asked(), "secret.example.test") {
		t.Errorf("a query of an internal network went upstream: %s", got)
	}
	if got := g.a.Exec("vault", "dig", "+short", "both").Text(); got == "" {
		t.Error("names of the internal network itself are not served")
	}
	if got := g.a.Exec("both", "dig", "+short", "mail.example.test").Text(); got != "203.0.113.7" {
		t.Errorf("a container that is also in an open network resolves a name of the outside to %q", got)
	}
}

func TestContainersOwnDNSServer(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("run", "-d", "--name", "dns", "--network", "front", "--", "dnsmasq", "--keep-in-foreground", "--no-resolv",
		"--no-hosts", "--user=root", "--pid-file=", "--conf-file=/dev/null", "--address=/inside.test/203.0.113.8")
	g.idle("web", "--network", "front")
	g.Eventually(soon, func() string {
		got := g.a.Exec("web", "dig", "+short", "+tries=1", "+time=1", "@"+g.addr4("dns").String(), "a.inside.test").Text()
		if got != "203.0.113.8" {
			return "the container's server on 0.0.0.0:53 answers " + got + "; its log: " + g.a.Try("logs", "dns").Text()
		}
		return ""
	})
	// And ours serves beside it.
	if got := g.a.Exec("dns", "dig", "+short", "@127.0.0.11", "web").Text(); got != g.addr4("web").String() {
		t.Errorf("beside the container's own server, web is %q", got)
	}
}
