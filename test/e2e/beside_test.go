package e2e

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// dropForward sets what Docker and ufw leave: a FORWARD policy of DROP.
func (g *ground) dropForward() {
	for _, rule := range []string{"-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"} {
		for _, tool := range []string{"iptables", "ip6tables"} {
			g.a.MustRun(tool, strings.Fields(rule)...)
		}
	}
}

func TestForwardDropIsNamed(t *testing.T) {
	g := newGround(t)
	g.a.Stop()
	g.dropForward()
	rules := g.a.MustRun("iptables-save")
	g.a.Daemon()
	g.serve("web", "-p", "8080:80")
	var info catenet.Info
	g.Eventually(soon, func() string {
		info = catenet.Info{}
		g.a.Inspect(&info, "info")
		if len(info.Obstacles) == 0 {
			return "info names no obstacle"
		}
		return ""
	})
	o := info.Obstacles[0]
	if !strings.Contains(o.Rule, "FORWARD") || !strings.Contains(o.Remedy, "--allow-forward") {
		t.Errorf("the obstacle is %q, its remedy %q", o.Rule, o.Remedy)
	}
	if !strings.Contains(g.a.Log(), "FORWARD") {
		t.Error("the log does not name it")
	}
	if got := g.a.MustRun("iptables-save"); strip(got) != strip(rules) {
		t.Errorf("the rules of others were changed:\n%s\nthey were:\n%s", got, rules)
	}
}

// strip takes the lines with the time and the counters out of iptables-save.
func strip(rules string) string {
	var kept []string
	for _, l := range strings.Split(rules, "\n") {
		if !strings.HasPrefix(l, "#") {
			l, _, _ = strings.Cut(l, " [")
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

func TestAllowForward(t *testing.T) {
	g := newGround(t)
	g.a.Stop()
	g.dropForward()
	g.a.Daemon("--allow-forward")
	g.out.Serve("", 7000, "out")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	for _, to := range []string{at(g.a.Addr4, 8080), at(g.a.Addr6, 8080)} {
		g.answers(g.out, "", "tcp", to, "web")
	}
	if got := g.a.Ask(g.ns("web"), "tcp", at(g.out.Addr4, 7000)); !strings.HasPrefix(got, "out") {
		t.Errorf("the outside is not reached: %q", got)
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		if got := g.a.MustRun(tool, "-S", "DOCKER-USER"); !strings.Contains(got, "catenet") {
			t.Errorf("%s: nothing of ours in the place that Docker leaves for it:\n%s", tool, got)
		}
	}
	// Behind what Docker has to say, and the policy is as it was.
	got := g.a.MustRun("iptables", "-S", "FORWARD")
	if first, _, _ := strings.Cut(got, "catenet"); !strings.Contains(first, "-P FORWARD DROP") || !strings.Contains(first, "-j DOCKER-USER") {
		t.Errorf("FORWARD is\n%s", got)
	}
}

// TestAllowForwardIsTakenBack starts the daemon again without the permission.
func TestAllowForwardIsTakenBack(t *testing.T) {
	g := newGround(t)
	g.a.Stop()
	g.dropForward()
	rules := func() string { return strip(g.a.MustRun("iptables-save")) + strip(g.a.MustRun("ip6tables-save")) }
	before := rules()
	g.a.Daemon("--allow-forward")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	if rules() == before {
		t.Fatal("the permission changed nothing: this test proves nothing")
	}
	g.a.Stop()
	g.a.Daemon()
	if after := rules(); after != before {
		t.Errorf("the rules of others are\n%s\nand were\n%s", after, before)
	}
	for _, to := range []string{at(g.a.Addr4, 8080), at(g.a.Addr6, 8080)} {
		g.silent(g.out, "", "tcp", to)
	}
	var info catenet.Info
	g.a.Inspect(&info, "info")
	if len(info.Obstacles) == 0 {
		t.Error("info does not name the obstacle again")
	}
}
