package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// Three hosts on a wire, each told of the others by one command: their containers
// reach each other by their own addresses, and nobody else reaches them.
func TestRoutedAcrossHosts(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := []*lab.Host{l.Host("a"), l.Host("b"), l.Host("c")}
	stranger := l.Host("stranger")
	l.Switch(append(hosts, stranger), "192.0.2.0/24")
	netns := func(h *lab.Host) string { return "/run/netns/" + l.Name("box-"+h.Name) }
	for i, h := range hosts {
		h.Daemon()
		var peers []string
		for j := range hosts {
			if j != i {
				peers = append(peers, fmt.Sprintf("10.77.%d.0/24=192.0.2.%d", j+1, j+1))
			}
		}
		h.Catenet("network", "create", "-d", "routed", "--subnet", fmt.Sprintf("10.77.%d.0/24", i+1), "-o", "peers="+strings.Join(peers, ","), "wide")
		h.MustRun("ip", "netns", "add", l.Name("box-"+h.Name))
		t.Cleanup(func() { h.MustRun("ip", "netns", "del", l.Name("box-"+h.Name)) })
		h.Catenet("attach", "--network", "wide", "--name", "box", "--netns", netns(h))
		h.Serve(netns(h), 80, h.Name)
	}
	box := func(i int) string { return fmt.Sprintf("10.77.%d.2:80", i+1) }
	everyPair := func(when string) {
		t.Helper()
		for _, from := range hosts {
			for j, to := range hosts {
				if got := from.Ask(netns(from), "tcp", box(j)); !strings.HasPrefix(got, to.Name) {
					t.Errorf("%s: the box on %s asks that on %s and hears %q", when, from.Name, to.Name, got)
				}
				if got := from.Ask("", "tcp", box(j)); !strings.HasPrefix(got, to.Name) {
					t.Errorf("%s: %s asks the box on %s and hears %q", when, from.Name, to.Name, got)
				}
			}
		}
	}
	everyPair("at first")
	stranger.MustRun("ip", "route", "add", "10.77.1.0/24", "via", "192.0.2.1")
	if got := stranger.Ask("", "tcp", box(0)); got != "" {
		t.Errorf("a stranger on the wire hears %q", got)
	}

	a := hosts[0]
	ping := a.Ping(netns(a), "10.77.2.2", 60)
	a.Kill()
	a.Daemon()
	l.Eventually(soon, func() string {
		if ping.Answered() < 20 {
			return "too few pings are answered"
		}
		return ""
	})
	if sent, lost := ping.Stop(); lost != 0 {
		t.Errorf("%d of %d pings were lost while the daemon was killed", lost, sent)
	}
	for _, harm := range []string{"ip route del 10.77.2.0/24", "ip link set eth0 down; ip link set eth0 up"} {
		a.MustRun("sh", "-c", harm)
		l.Eventually(soon, func() string {
			if got := a.Ask(netns(a), "tcp", box(1)); !strings.HasPrefix(got, "b") {
				return fmt.Sprintf("after %s it hears %q", harm, got)
			}
			return ""
		})
	}
	peersChange(l, hosts, netns)
	if out := a.Catenet("network", "inspect", "wide"); !strings.Contains(out, `"192.0.2.3"`) {
		t.Errorf("inspect does not tell of the peers:\n%s", out)
	}
	r := a.Try("network", "create", "-d", "routed", "--subnet", "10.78.1.0/24", "-o", "peers=10.77.9.0/24=203.0.113.1", "far")
	if r.Code != 0 || !strings.Contains(r.Stderr, "10.77.9.0/24") || !strings.Contains(r.Stderr, "no wire") {
		t.Errorf("a host that is on no wire: %d %s", r.Code, r.Text())
	}
	a.Catenet("network", "rm", "far")
	everyPair("at last")
	for _, h := range hosts {
		h.Catenet("detach", "box")
		h.Catenet("network", "rm", "wide")
		if routes := h.MustRun("ip", "route"); strings.Contains(routes, "10.77.") {
			t.Errorf("left behind on %s:\n%s", h.Name, routes)
		}
	}
}

// peersChange: of the first host's peers one moves to another address, and goes and
// comes again. No packet to it is lost by the move, and none to the other by any of it.
func peersChange(l *lab.Lab, hosts []*lab.Host, netns func(*lab.Host) string) {
	l.T.Helper()
	a, b, c := hosts[0], hosts[1], hosts[2]
	c.MustRun("ip", "addr", "add", "192.0.2.33/24", "dev", "eth0")
	c.Catenet("network", "update", "-o", "peers=10.77.1.0/24=192.0.2.1", "wide")
	steady, moving := a.Ping(netns(a), "10.77.2.2", 60), a.Ping(netns(a), "10.77.3.2", 60)
	answered := func(streams ...*lab.Ping) {
		l.T.Helper()
		for _, s := range streams {
			from := s.Answered()
			l.Eventually(soon, func() string {
				if s.Answered() < from+20 {
					return "too few pings are answered"
				}
				return ""
			})
		}
	}
	answered(steady, moving)
	a.Catenet("network", "update", "-o", "peers=10.77.2.0/24=192.0.2.2,10.77.3.0/24=192.0.2.33", "wide")
	if route := a.MustRun("ip", "route", "show", "10.77.3.0/24"); !strings.Contains(route, "via 192.0.2.33 ") {
		l.T.Errorf("the peer has moved, and the route is %s", route)
	}
	answered(steady, moving)
	if sent, lost := moving.Stop(); lost != 0 {
		l.T.Errorf("%d of %d pings to a peer were lost while it moved", lost, sent)
	}
	a.Catenet("network", "update", "-o", "peers=10.77.2.0/24=192.0.2.2", "wide")
	if route := a.MustRun("ip", "route", "show", "10.77.3.0/24"); route != "" {
		l.T.Errorf("the peer has gone, and there is %s", route)
	}
	if got := c.Ask(netns(c), "tcp", "10.77.1.2:80"); got != "" {
		l.T.Errorf("who is no peer any more hears %q", got)
	}
	answered(steady)
	a.Catenet("network", "update", "-o", "peers=10.77.2.0/24=192.0.2.2,10.77.3.0/24=192.0.2.3", "wide")
	c.Catenet("network", "update", "-o", "peers=10.77.1.0/24=192.0.2.1,10.77.2.0/24=192.0.2.2", "wide")
	answered(steady)
	if sent, lost := steady.Stop(); lost != 0 {
		l.T.Errorf("%d of %d pings to %s were lost while another peer changed", lost, sent, b.Name)
	}
	c.MustRun("ip", "addr", "del", "192.0.2.33/24", "dev", "eth0")
}
