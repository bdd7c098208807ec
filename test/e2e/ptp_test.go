package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// couple is a ptp network on the usual ground.
type couple struct{ *ground }

func newCouple(t *testing.T, flags ...string) couple {
	c := couple{newGround(t)}
	c.a.Catenet(append([]string{"network", "create", "-d", "ptp"}, append(flags, "pair")...)...)
	return c
}

// in runs ip(8) in a container's namespace.
func (c couple) in(name string, args ...string) string {
	c.T.Helper()
	return c.a.MustRun("nsenter", append([]string{"--net=" + c.ns(name), "ip"}, args...)...)
}

// index is that of a container's interface: another one tells another link.
func (c couple) index(name string) string {
	c.T.Helper()
	number, _, _ := strings.Cut(c.in(name, "-o", "link", "show", "eth0"), ":")
	return number
}

// met wants two containers to reach each other, and the host to have no part
// in it.
func (c couple) met(a, b string) {
	c.T.Helper()
	c.Eventually(soon, func() string {
		for _, to := range [][2]string{{a, b}, {b, a}} {
			ep := c.endpoint(to[1])
			for _, addr := range []string{ep.IPv4.Addr().String(), ep.IPv6.Addr().String()} {
				if addr == "invalid IP" {
					continue
				}
				if r := c.a.Run("nsenter", "--net="+c.ns(to[0]), "ping", "-c1", "-W1", addr); r.Code != 0 {
					return fmt.Sprintf("%s does not reach %s at %s: %s", to[0], to[1], addr, r.Text())
				}
			}
		}
		return ""
	})
	if got := c.ends(); got != "" {
		c.T.Errorf("the host has %s", got)
	}
}

// alone wants a container to have its interface and its address, and nobody
// at the other end.
func (c couple) alone(name string) {
	c.T.Helper()
	c.Eventually(soon, func() string {
		r := c.a.Run("nsenter", "--net="+c.ns(name), "ip", "-o", "addr", "show", "dev", "eth0")
		if !strings.Contains(r.Text(), c.addr4(name).String()) {
			return name + " has " + r.Text()
		}
		if link := c.in(name, "link", "show", "eth0"); !strings.Contains(link, "NO-CARRIER") {
			return name + " is not alone: " + link
		}
		if !strings.Contains(c.ends(), "state DOWN") {
			return "what waits on the host is " + c.ends()
		}
		return ""
	})
}

// ends are what the host has of pairs.
func (c couple) ends() string {
	var ends []string
	for _, l := range strings.Split(c.a.MustRun("ip", "-o", "link"), "\n") {
		if strings.Contains(l, ": ctn") && !strings.Contains(l, "master") { // not a port of a bridge
			ends = append(ends, l)
		}
	}
	return strings.Join(ends, "\n")
}

func TestTwoAreJoined(t *testing.T) {
	c := newCouple(t, "--ipv6")
	c.idle("left", "--network", "pair")
	c.alone("left")
	index := c.index("left")
	c.serve("right", "--network", "pair")
	c.met("left", "right")
	if got := c.index("left"); got != index {
		t.Error("who was there first has another interface now")
	}
	left, right := c.endpoint("left"), c.endpoint("right")
	if left.IPv4.Bits() != 30 || left.IPv6.Bits() != 127 || left.IPv4.Masked() != right.IPv4.Masked() || left.IPv6.Masked() != right.IPv6.Masked() {
		t.Errorf("they have %s %s and %s %s", left.IPv4, left.IPv6, right.IPv4, right.IPv6)
	}
	c.answers(c.a, c.ns("left"), "tcp", at(right.IPv4.Addr(), 80), "right")
	if got := c.a.Exec("left", "dig", "+short", "right").Text(); got != right.IPv4.Addr().String() {
		t.Errorf("left knows right as %q", got)
	}
	if got := c.a.Exec("left", "cat", "/etc/resolv.conf").Text(); !strings.Contains(got, "nobody") {
		t.Errorf("a way out for lookups: %s", got)
	}
	for _, family := range []string{"-4", "-6"} {
		if got := c.in("left", family, "route", "show", "default"); got != "" {
			t.Errorf("a way out: %s", got)
		}
	}
	c.silent(c.a, "", "tcp", at(right.IPv4.Addr(), 80))
	if got := c.a.MustRun("nft", "list", "ruleset"); strings.Contains(got, left.IPv4.Masked().String()) {
		t.Error("the firewall knows the network")
	}

	c.a.Refused([]string{"pair joins 2 containers", "left, right", "disconnect"}, "run", "-d", "--network", "pair", "--", "sleep", "600")
	c.a.Refused([]string{"port 80/tcp cannot be published"}, "run", "-d", "-p", "80:80", "--network", "pair", "--", "sleep", "600")
	c.a.Refused([]string{"no gateway"}, "network", "create", "-d", "ptp", "--subnet", "10.9.0.0/30", "--gateway", "10.9.0.1", "other")
	c.a.Refused([]string{"one subnet"}, "network", "create", "-d", "ptp", "--subnet", "10.9.0.0/30", "--subnet", "10.9.0.4/30", "other")
}

// TestTwoOfTwoAddresses: a /31 is enough (RFC 3021), and a smaller MTU is that
// of both ends.
func TestTwoOfTwoAddresses(t *testing.T) {
	c := newCouple(t, "--subnet", "10.9.0.0/31", "-o", "mtu=1400")
	c.idle("left", "--network", "pair")
	c.idle("right", "--network", "pair")
	c.met("left", "right")
	for name, want := range map[string]string{"left": "10.9.0.0/31", "right": "10.9.0.1/31"} {
		if got := c.endpoint(name).IPv4.String(); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
		if got := c.in(name, "link", "show", "eth0"); !strings.Contains(got, "mtu 1400") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTwoComeAndGo: in any order, and who stays keeps its interface.
func TestTwoComeAndGo(t *testing.T) {
	c := newCouple(t)
	c.a.Catenet("network", "create", "other")
	c.idle("left", "--network", "pair")
	index := c.index("left")
	c.idle("right", "--network", "pair", "--network", "other")
	c.met("left", "right")
	c.a.Catenet("network", "disconnect", "pair", "right")
	c.alone("left")
	if got := c.in("right", "-o", "link"); strings.Contains(got, "eth0") {
		t.Errorf("right still has its end: %s", got)
	}
	c.a.Catenet("network", "connect", "pair", "right")
	c.a.Catenet("stop", "-t", "0", "right")
	c.alone("left")
	c.a.Catenet("start", "right")
	c.a.Catenet("network", "disconnect", "other", "right")
	c.met("left", "right")
	c.a.Catenet("rm", "-f", "right")
	c.alone("left")
	c.idle("third", "--network", "pair")
	c.met("left", "third")
	if got := c.index("left"); got != index {
		t.Error("who stayed has another interface now")
	}
	c.a.Catenet("rm", "-f", "left")
	c.alone("third")
	c.idle("left", "--network", "pair")
	c.met("left", "third")
}

// TestTwoSurvive a daemon that is killed, with traffic under way, and what
// goes while none is there.
func TestTwoSurvive(t *testing.T) {
	c := newCouple(t)
	c.idle("left", "--network", "pair")
	c.a.Kill()
	c.a.Daemon()
	c.alone("left")
	name := c.Name("hand")
	c.a.MustRun("ip", "netns", "add", name)
	defer c.a.MustRun("ip", "netns", "del", name)
	c.a.Catenet("attach", "--name", "hand", "--netns", "/run/netns/"+name, "--network", "pair")
	c.met("left", "hand")
	ping := c.a.Ping(c.ns("left"), c.addr4("hand").String(), 30)
	for range 3 {
		c.a.Kill()
		c.a.Daemon()
	}
	if sent, lost := ping.Stop(); sent < 10 || lost > 0 {
		t.Errorf("%d of %d lost", lost, sent)
	}
	if n := strings.Count(c.a.Log(), "put back"); n != 0 {
		t.Errorf("%d repairs are told:\n%s", n, c.a.Log())
	}

	// The program of one ends while no daemon is there.
	pid := status(c.a, "left").InitPID
	c.a.Kill()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.a.Daemon()
	c.alone("hand")
	c.a.Catenet("start", "left")
	c.met("left", "hand")

	// What is detached keeps nothing, and its namespace lives on.
	c.a.Catenet("detach", "hand")
	if got := c.a.MustRun("ip", "-n", name, "-o", "link"); strings.Contains(got, "eth0") {
		t.Errorf("left in the namespace: %s", got)
	}
	c.alone("left")
}

// TestTwoAreMended: what somebody deletes comes back, inside or on the host.
func TestTwoAreMended(t *testing.T) {
	c := newCouple(t)
	c.idle("left", "--network", "pair")
	c.idle("right", "--network", "pair")
	for _, cut := range []string{"left", "right"} {
		c.met("left", "right")
		index := c.index("left")
		c.in(cut, "link", "del", "eth0")
		c.Eventually(soon, func() string {
			if r := c.a.Run("nsenter", "--net="+c.ns("left"), "ip", "link", "show", "eth0"); r.Code != 0 || c.index("left") == index {
				return "left has no new end"
			}
			return ""
		})
	}
	c.met("left", "right")
	c.in("right", "link", "set", "eth0", "down")
	c.met("left", "right")

	c.a.Catenet("rm", "-f", "right")
	c.alone("left")
	index := c.index("left")
	waiting := strings.Split(strings.Fields(c.ends())[1], "@")[0]
	c.a.MustRun("ip", "link", "del", waiting)
	c.Eventually(soon, func() string {
		if c.ends() == "" || c.index("left") == index {
			return "nothing waits"
		}
		return ""
	})
	c.alone("left")
	c.idle("right", "--network", "pair")
	c.met("left", "right")
}
