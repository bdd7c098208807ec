package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
)

// dig is what a container's resolver answers to a name.
func (g *ground) dig(from string, args ...string) string {
	g.T.Helper()
	return g.a.Exec(from, append([]string{"dig", "+short", "+tries=1", "+time=2"}, args...)...).Text()
}

// linked wants a container to see another one by an alias, in lookups and in
// its hosts file, and no trace of it where the address is not valid.
func (g *ground) linked(from, alias, names string, addrs ...netip.Addr) {
	g.T.Helper()
	for i, qtype := range []string{"A", "AAAA"} {
		want := ""
		if i < len(addrs) {
			want = addrs[i].String()
		}
		if got := g.dig(from, alias, qtype); got != want {
			g.T.Errorf("%s of %s is %q to %s, want %q", qtype, alias, got, from, want)
		}
	}
	hosts := g.a.Exec(from, "cat", "/etc/hosts").Text()
	if got := strings.Count(hosts, alias); got != len(addrs) {
		g.T.Errorf("%s stands %d times in the hosts file of %s, want %d:\n%s", alias, got, from, len(addrs), hosts)
	}
	for _, a := range addrs {
		if line := a.String() + "\t" + alias + names; !strings.Contains(hosts, line+"\n") {
			g.T.Errorf("the hosts file of %s lacks %q:\n%s", from, line, hosts)
		}
	}
}

func TestLinksFollowTheirTarget(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.idle("db", "--network", "front", "--hostname", "pg", "--expose", "5432", "-p", "8053:53/udp", "-e", "VERSION=17", "-e", "HOME=/x")
	g.idle("web", "--network", "front", "--link", "db:my-store", "-e", "MY_STORE_ENV_VERSION=mine")
	g.idle("other", "--network", "front:link=db")

	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", status(g.a, "web").InitPID))
	if err != nil {
		t.Fatal(err)
	}
	addr := g.addr4("db").String()
	for _, want := range []string{
		"MY_STORE_NAME=/web/my-store", "MY_STORE_PORT=tcp://" + addr + ":5432", "MY_STORE_PORT_5432_TCP=tcp://" + addr + ":5432",
		"MY_STORE_PORT_5432_TCP_ADDR=" + addr, "MY_STORE_PORT_5432_TCP_PORT=5432", "MY_STORE_PORT_5432_TCP_PROTO=tcp",
		"MY_STORE_PORT_53_UDP=udp://" + addr + ":53", "MY_STORE_ENV_VERSION=mine",
	} {
		if !strings.Contains("\x00"+string(environ), "\x00"+want+"\x00") {
			t.Errorf("the environment lacks %s:\n%s", want, strings.ReplaceAll(string(environ), "\x00", "\n"))
		}
	}
	if strings.Contains(string(environ), "_ENV_HOME") {
		t.Error("the target's HOME is in the environment")
	}
	follows := func(when string) {
		t.Helper()
		g.linked("web", "my-store", " pg db", g.addr4("db"), g.addr6("db"))
		if t.Failed() {
			t.Fatal(when)
		}
	}
	follows("linked")
	if got := g.dig("other", "my-store"); strings.Contains(got, addr) {
		t.Errorf("an alias of web's is known to another: %s", got)
	}

	g.a.Catenet("stop", "-t", "0", "db")
	g.linked("web", "my-store", "")
	g.idle("squatter", "--network", "front", "--ip", addr)
	g.a.Catenet("start", "db")
	if now := g.addr4("db").String(); now == addr {
		t.Fatal("db has its old address: this test proves nothing")
	}
	follows("started again at another address")
	if got := g.a.Exec("web", "env").Text(); !strings.Contains(got, "MY_STORE_PORT_5432_TCP_ADDR="+g.addr4("db").String()+"\n") {
		t.Errorf("another program in web is told an old address:\n%s", got)
	}
	g.a.Kill()
	g.a.Daemon()
	follows("with the next daemon")

	g.a.Catenet("rm", "-f", "db")
	g.linked("web", "my-store", "")
	if got := g.a.Catenet("ps"); !strings.Contains(got, "LINKS") || !strings.Contains(got, "db:my-store (dead)") {
		t.Errorf("catenet ps does not tell of the dead link:\n%s", got)
	}
	g.idle("db", "--network", "front", "--hostname", "pg")
	follows("made anew")
	if got := g.a.Catenet("ps"); strings.Contains(got, "dead") || !strings.Contains(got, "db:my-store") {
		t.Errorf("catenet ps:\n%s", got)
	}
	if got := g.a.Catenet("inspect", "--format", "{{range .Endpoints}}{{.Spec.Links}}{{end}}", "web"); got != "[db:my-store]" {
		t.Errorf("catenet inspect tells of the links %q", got)
	}
}

func TestLinksOfAttachedNamespaces(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.idle("db")
	p := g.a.Start("unshare", "--net", "sleep", "600")
	host := strings.TrimSpace(g.a.MustRun("readlink", "/proc/self/ns/net"))
	g.Eventually(soon, func() string {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.Pid)); err != nil || ns == host {
			return "no namespace of its own yet"
		}
		return ""
	})
	attach := []string{"attach", "--name", "guest", "--pid", fmt.Sprint(p.Pid), "--network", "front", "--link", "db:store"}
	g.a.Refused([]string{"db", "not in network front", "catenet network connect front db"}, attach...)
	g.a.Catenet("network", "connect", "front", "db")
	g.a.Catenet(attach...)
	there := status(g.a, "db").Endpoints[1].IPv4.Addr().String()
	if got := g.dig("guest", "@127.0.0.11", "store"); got != there {
		t.Errorf("store is %q, want %s", got, there)
	}
	// Joined to one more network, with a link there, and out of it again.
	g.a.Catenet("network", "connect", "--link", "db:second", "bridge", "guest")
	if got := g.dig("guest", "@127.0.0.11", "second"); got != g.addr4("db").String() {
		t.Errorf("second is %q, want %s", got, g.addr4("db"))
	}
	g.a.Catenet("network", "disconnect", "bridge", "guest")
	if got := g.dig("guest", "@127.0.0.11", "second"); strings.Contains(got, g.addr4("db").String()) {
		t.Errorf("out of the network, second is still %q", got)
	}
	g.a.Refused([]string{"guest", "circle"}, "network", "connect", "--link", "guest", "front", "db")
}

// TestLinksWithoutIcc: which port reaches whom.
func TestLinksWithoutIcc(t *testing.T) {
	for _, value := range []string{"0", "1"} {
		t.Run("bridge-nf="+value, func(t *testing.T) {
			g := newGround(t)
			g.a.MustRun("sh", "-c", "for f in ip ip6; do echo "+value+" >/proc/sys/net/bridge/bridge-nf-call-${f}tables; done")
			g.a.Catenet("network", "create", "--ipv6", "--internal", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
			g.serve("db", "--network", "quiet", "--expose", "80", "--expose", "90-91")
			g.a.Serve(g.ns("db"), 91, "db")
			g.a.Serve(g.ns("db"), 92, "db")
			g.serve("web", "--network", "quiet", "--link", "db:store", "--expose", "80")
			g.serve("other", "--network", "quiet")
			matrix := func(when string) {
				t.Helper()
				db, web := g.endpoint("db"), g.endpoint("web")
				nsDB, nsWeb, nsOther := g.ns("db"), g.ns("web"), g.ns("other")
				for _, to := range []netip.Addr{db.IPv4.Addr(), db.IPv6.Addr()} {
					g.answers(g.a, nsWeb, "tcp", at(to, 80), "db")
					g.answers(g.a, nsWeb, "tcp", at(to, 91), "db")
				}
				var wg sync.WaitGroup // each silence takes its time
				for family, to := range []netip.Addr{db.IPv4.Addr(), db.IPv6.Addr()} {
					back := []netip.Addr{web.IPv4.Addr(), web.IPv6.Addr()}[family]
					wg.Go(func() { g.silent(g.a, nsWeb, "udp", at(to, 80)) })
					wg.Go(func() { g.silent(g.a, nsWeb, "tcp", at(to, 92)) })
					wg.Go(func() { g.silent(g.a, nsOther, "tcp", at(to, 80)) })
					wg.Go(func() { g.silent(g.a, nsDB, "tcp", at(back, 80)) })
					wg.Go(func() { g.silent(g.a, nsOther, "tcp", at(back, 80)) })
				}
				wg.Wait()
				if t.Failed() {
					t.Fatal(when)
				}
			}
			matrix("linked")
			if got := g.a.Ask(g.ns("web"), "tcp", at(g.addr4("db"), 80)); got != "db "+g.addr4("web").String() {
				t.Errorf("db saw %q, want web's own address", got)
			}
			old := g.endpoint("db")
			ns := g.ns("web")
			g.a.Kill()
			g.answers(g.a, ns, "tcp", at(old.IPv4.Addr(), 80), "db")
			g.a.Daemon()
			matrix("with the next daemon")
			// Who has the address next is not linked.
			g.a.Catenet("rm", "-f", "db")
			g.serve("heir", "--network", "quiet", "--ip", old.IPv4.Addr().String(), "--ip6", old.IPv6.Addr().String(), "--expose", "80")
			g.silent(g.a, ns, "tcp", at(old.IPv4.Addr(), 80))
			g.serve("db", "--network", "quiet", "--expose", "80")
			g.answers(g.a, ns, "tcp", at(g.addr4("db"), 80), "db")
			g.answers(g.a, ns, "tcp", at(g.addr6("db"), 80), "db")
		})
	}
}
