// Package e2e runs the real programs on hosts of their own and looks at what a
// user would see: containers that reach each other or do not, ports, names,
// and what is left after a crash. Each test has a lab to itself, and its
// ledger proves at the end that nothing is left.
package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// soon is how long something may take that happens by itself.
const soon = 10 * time.Second

// ground is the usual place: host a with a daemon, and another host outside.
type ground struct {
	*lab.Lab
	a, out *lab.Host
}

func newGround(t *testing.T, daemonArgs ...string) *ground {
	t.Helper()
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24", "2001:db8:1::/64")
	g.a.Via(g.out)
	g.a.Daemon(daemonArgs...)
	return g
}

// serve runs a container that answers on TCP and UDP port 80 with its name
// and the client's address, and waits until it does.
func (g *ground) serve(name string, flags ...string) {
	g.T.Helper()
	g.serveAt(g.a, name, flags...)
}

func (g *ground) serveAt(h *lab.Host, name string, flags ...string) {
	g.T.Helper()
	answer := fmt.Sprintf("SYSTEM:echo %s $SOCAT_PEERADDR", name)
	command := fmt.Sprintf("socat UDP6-RECVFROM:80,ipv6only=0,fork '%s' & exec socat TCP6-LISTEN:80,ipv6only=0,reuseaddr,fork '%s'", answer, answer)
	args := append([]string{"run", "-d", "--name", name}, flags...)
	h.Catenet(append(args, "--", "sh", "-c", command)...)
	g.Eventually(soon, func() string {
		ns := status(h, name).NetnsPath
		if h.Ask(ns, "tcp", "127.0.0.1:80") == "" || h.Ask(ns, "udp", "127.0.0.1:80") == "" {
			return name + " does not serve: " + h.Try("logs", name).Text()
		}
		return ""
	})
}

// idle runs a container that only waits.
func (g *ground) idle(name string, flags ...string) {
	g.T.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	g.a.Catenet(append(args, "--", "sleep", "600")...)
}

// status is a container's, by name.
func status(h *lab.Host, name string) catenet.SandboxStatus {
	var all []catenet.SandboxStatus
	h.Inspect(&all, "inspect", name)
	if len(all) != 1 {
		return catenet.SandboxStatus{}
	}
	return all[0]
}

// ns is where a container's namespace can be entered.
func (g *ground) ns(name string) string { return status(g.a, name).NetnsPath }

// addr4 and addr6 are a container's addresses in its first network.
func (g *ground) addr4(name string) netip.Addr {
	g.T.Helper()
	return g.endpoint(name).IPv4.Addr()
}

func (g *ground) addr6(name string) netip.Addr {
	g.T.Helper()
	return g.endpoint(name).IPv6.Addr()
}

func (g *ground) endpoint(name string) catenet.Endpoint {
	g.T.Helper()
	eps := status(g.a, name).Endpoints
	if len(eps) == 0 {
		g.T.Fatalf("%s is in no network", name)
	}
	return eps[0]
}

// answers wants who to answer at an address, asked from a namespace of h.
func (g *ground) answers(h *lab.Host, ns, proto, to, who string) {
	g.T.Helper()
	if got := g.hears(h, ns, proto, to); !strings.HasPrefix(got, who+" ") {
		g.T.Errorf("%s %s asked from %s %s: answer %q, want %s's", proto, to, h.Name, ns, got, who)
	}
}

// hears asks until somebody answers: a machine may be busy, and socat, which
// forks for each datagram, now and then leaves one lying.
func (g *ground) hears(h *lab.Host, ns, proto, to string) (got string) {
	for late := time.Now().Add(soon); got == "" && time.Now().Before(late); {
		got = h.Ask(ns, proto, to)
	}
	return got
}

// silent wants nobody to answer.
func (g *ground) silent(h *lab.Host, ns, proto, to string) {
	g.T.Helper()
	if got := h.Ask(ns, proto, to); got != "" {
		g.T.Errorf("%s %s asked from %s %s: answer %q, want none", proto, to, h.Name, ns, got)
	}
}

// at is an address and port as Ask takes it.
func at(a netip.Addr, port int) string { return netip.AddrPortFrom(a, uint16(port)).String() }
