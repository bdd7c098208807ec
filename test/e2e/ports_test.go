package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

func TestPublishedPortFromEverywhere(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("network", "create", "--ipv6", "back")
	g.serve("web", "--network", "front", "-p", "8080:80", "-p", "8080:80/udp")
	g.idle("near", "--network", "front")
	g.idle("far", "--network", "back")
	for _, from := range []struct {
		name  string
		host  *lab.Host
		ns    string
		hosts []string
	}{
		{"outside", g.out, "", []string{g.a.Addr4.String(), "[" + g.a.Addr6.String() + "]"}},
		{"the host", g.a, "", []string{"127.0.0.1", "127.0.0.2", "[::1]", g.a.Addr4.String(), "[" + g.a.Addr6.String() + "]"}},
		{"the same network", g.a, g.ns("near"), []string{g.a.Addr4.String(), "[" + g.a.Addr6.String() + "]"}},
		{"the container itself", g.a, g.ns("web"), []string{g.a.Addr4.String(), "[" + g.a.Addr6.String() + "]"}},
		{"another network", g.a, g.ns("far"), []string{g.a.Addr4.String(), "[" + g.a.Addr6.String() + "]"}},
	} {
		for _, proto := range []string{"tcp", "udp"} {
			for _, host := range from.hosts {
				if got := from.host.Ask(from.ns, proto, host+":8080"); !strings.HasPrefix(got, "web ") {
					t.Errorf("from %s, %s %s:8080 answers %q", from.name, proto, host, got)
				}
			}
		}
	}
	// The outside is seen as it is, not hidden behind the host.
	if got := g.out.Ask("", "tcp", g.a.Addr4.String()+":8080"); got != "web "+g.out.Addr4.String() {
		t.Errorf("the container saw %q, want the client's own address %s", got, g.out.Addr4)
	}
	want := "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n80/udp -> 0.0.0.0:8080\n80/udp -> [::]:8080"
	if got := g.a.Catenet("port", "web"); got != want {
		t.Errorf("catenet port prints\n%s\nwant\n%s", got, want)
	}

	g.a.Catenet("rm", "-f", "web")
	g.silent(g.out, "", "tcp", g.a.Addr4.String()+":8080")
	g.silent(g.a, "", "tcp", "127.0.0.1:8080")
}

func TestPortOnOneAddress(t *testing.T) {
	g := newGround(t)
	g.serve("local", "-p", "127.0.0.1:8081:80")
	g.serve("lan", "-p", g.a.Addr4.String()+":8082:80")
	g.answers(g.a, "", "tcp", "127.0.0.1:8081", "local")
	g.silent(g.a, "", "tcp", g.a.Addr4.String()+":8081")
	g.silent(g.out, "", "tcp", g.a.Addr4.String()+":8081")
	g.answers(g.out, "", "tcp", g.a.Addr4.String()+":8082", "lan")
	g.answers(g.a, "", "tcp", g.a.Addr4.String()+":8082", "lan")
	g.silent(g.a, "", "tcp", "127.0.0.1:8082")

	// A neighbour that sends packets for 127.0.0.1 over the LAN gets nothing.
	g.out.MustRun("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via "+g.a.Addr4.String()+" src "+g.out.Addr4.String())
	g.silent(g.out, "", "tcp", "127.0.0.1:8081")
	g.silent(g.out, "", "udp", "127.0.0.1:8081")
}

func TestPortOnOneIPv6Address(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("lan", "--network", "front", "-p", "["+g.a.Addr6.String()+"]:8080:80", "-p", "["+g.a.Addr6.String()+"]:8080:80/udp")
	g.serve("local", "--network", "front", "-p", "[::1]:8081:80")
	if got, want := g.a.Catenet("port", "lan", "80"), at(g.a.Addr6, 8080); got != want {
		t.Errorf("catenet port prints %q, want %q", got, want)
	}
	for _, proto := range []string{"tcp", "udp"} {
		g.answers(g.out, "", proto, at(g.a.Addr6, 8080), "lan")
		g.answers(g.a, "", proto, at(g.a.Addr6, 8080), "lan")
		g.answers(g.a, g.ns("local"), proto, at(g.a.Addr6, 8080), "lan")
		g.silent(g.out, "", proto, at(g.a.Addr4, 8080))
	}
	for _, to := range []string{"[::1]:8080", "127.0.0.1:8080", "127.0.0.1:8081", at(g.a.Addr6, 8081)} {
		g.silent(g.a, "", "tcp", to)
	}
	g.answers(g.a, "", "tcp", "[::1]:8081", "local")
	g.silent(g.out, "", "tcp", at(g.a.Addr6, 8081))
	// It is held at that address, and only there.
	g.a.Refused([]string{"8080", "taken"}, "run", "-d", "--network", "front", "-p", "["+g.a.Addr6.String()+"]:8080:80", "--", "sleep", "60")
	g.idle("beside", "-p", at(g.a.Addr4, 8080)+":80")
}

func TestTakenPorts(t *testing.T) {
	g := newGround(t)
	g.idle("web", "-p", "8080:80", "-p", "8090-8091:80")
	g.a.Refused([]string{"8080", "taken"}, "run", "-d", "-p", "8080:80", "--", "sleep", "60")
	if got := g.a.Catenet("ps", "-aq"); strings.Count(got, "\n") != 0 {
		t.Errorf("the refused container is still there: %s", got)
	}
	if r := g.a.Run("timeout", "2", "socat", "TCP-LISTEN:8080", "-"); !strings.Contains(r.Text(), "in use") {
		t.Errorf("a program of the host could take a published port: %s", r.Text())
	}
	// The range has one more.
	g.idle("second", "-p", "8090-8091:80")
	g.a.Refused([]string{"8090", "8091", "taken"}, "run", "-d", "-p", "8090-8091:80", "--", "sleep", "60")

	g.a.Serve("", 9000, "other")
	g.a.Refused([]string{"9000", "taken", "socat"}, "run", "-d", "-p", "9000:80", "--", "sleep", "60")
	// The one address that it is asked for is free.
	g.a.MustRun("ip", "addr", "add", "192.0.2.9/24", "dev", "eth0")
	g.idle("picky", "-p", "192.0.2.9:8088:80")
	g.idle("sibling", "-p", "192.0.2.1:8088:80")
	// What went is free at once.
	g.a.Catenet("rm", "-f", "web")
	g.idle("third", "-p", "8080:80")
}

func TestThousandPortsInOneRequest(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("many", "--network", "front", "-p", "20000-20999:20000-20999", "-p", "80:80")
	if got := strings.Count(g.a.Catenet("port", "many", "-q")+"\n", "\n"); got != 2002 {
		t.Errorf("%d bindings, want 1001 of each family", got)
	}
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 80), "many")
	g.a.Serve(g.ns("many"), 20999, "last")
	g.answers(g.out, "", "tcp", at(g.a.Addr6, 20999), "last")
}

func TestPublishAll(t *testing.T) {
	g := newGround(t)
	g.serve("web", "-P", "--expose", "80", "--expose", "80/udp")
	for _, proto := range []string{"tcp", "udp"} {
		line, _, _ := strings.Cut(g.a.Catenet("port", "web", "80/"+proto), "\n")
		_, port, _ := strings.Cut(line, ":")
		g.answers(g.out, "", proto, g.a.Addr4.String()+":"+port, "web")
	}
}

func TestFlowsOfARemovedPortAreForgotten(t *testing.T) {
	g := newGround(t)
	g.serve("old", "-p", "5353:80/udp")
	g.answers(g.out, "", "udp", at(g.a.Addr4, 5353), "old")
	flows := func() string { return g.a.MustRun("conntrack", "-L", "-p", "udp", "--orig-port-dst", "5353") }
	if flows() == "" {
		t.Fatal("the flow is not tracked: this test proves nothing")
	}
	g.a.Catenet("rm", "-f", "old")
	g.Eventually(soon, flows)
	g.serve("new", "-p", "5353:80/udp")
	g.answers(g.out, "", "udp", at(g.a.Addr4, 5353), "new")
}

func TestSeveralDaemonsOnOneMachine(t *testing.T) {
	g := newGround(t)
	b := g.Host("b")
	g.Join(b, g.out, "198.51.100.0/24")
	b.Daemon()
	// The same names and ports on both: nothing is mixed up, also not on the
	// loopback addresses, whose programs sit on the machine's one cgroup tree.
	for _, h := range []*lab.Host{g.a, b} {
		h.Catenet("network", "create", "--ipv6", "front")
		g.serveAt(h, "web", "--network", "front", "-p", "8080:80")
		g.serveAt(h, "on-"+h.Name, "--network", "front", "-p", "8081:80")
	}
	for _, h := range []*lab.Host{g.a, b} {
		for _, to := range []string{"127.0.0.1", "[::1]"} {
			if got := h.Ask("", "tcp", to+":8081"); !strings.HasPrefix(got, "on-"+h.Name) {
				t.Errorf("%s:8081 on %s answers %q", to, h.Name, got)
			}
		}
	}
	b.Catenet("rm", "-f", "web", "on-b")
	g.answers(g.a, "", "tcp", "127.0.0.1:8081", "on-a")
	g.silent(b, "", "tcp", "127.0.0.1:8081")
	if got := fmt.Sprint(len(status(g.a, "web").Bindings)); got != "2" {
		t.Errorf("a's web has %s bindings", got)
	}
}
