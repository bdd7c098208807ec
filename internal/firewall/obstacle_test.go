package firewall

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestForwardDrop: where others drop what is forwarded, that is found and
// told, and on demand the rule is put where they leave a place for it.
func TestForwardDrop(t *testing.T) {
	for _, c := range []struct{ name, v4, v6 string }{
		{"nft", "iptables-nft", "ip6tables-nft"},
		{"legacy", "iptables-legacy", "ip6tables-legacy"},
	} {
		for _, docker := range []bool{false, true} {
			name := c.name
			if docker {
				name += " with DOCKER-USER"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testForwardDrop(t, c.v4, c.v6, docker)
			})
		}
	}
}

func testForwardDrop(t *testing.T, v4, v6 string, docker bool) {
	w := newWorld(t, 1, nft.Options{})
	must(t, w.f.Restore(t.Context(), []Network{front}, []Port{
		publish(catenet.TCP, "0.0.0.0:8080", "172.18.0.2:80", front.ID),
		publish(catenet.TCP, "[::]:8080", "[fd00:18::2]:80", front.ID),
	}))
	serve(t, w.a, "tcp", ":80")
	serve(t, w.outside, "tcp", ":80")
	obstacles := func() (out []catenet.Obstacle) {
		t.Helper()
		w.host.MustDo(func() (err error) { out, err = w.f.Obstacles(t.Context()); return err })
		return out
	}
	allow := func(yes bool) {
		t.Helper()
		w.host.MustDo(func() error {
			if yes {
				return w.f.AllowForward(t.Context())
			}
			return w.f.DenyForward(t.Context())
		})
	}
	if o := obstacles(); len(o) != 0 {
		t.Errorf("obstacles where there are none: %v", o)
	}
	allow(true) // makes no table of theirs
	if out := w.host.Run("nft", "list", "tables"); strings.Contains(out, "filter") {
		t.Errorf("AllowForward made tables of others:\n%s", out)
	}
	allow(false)
	chain := "FORWARD"
	for _, tool := range []string{v4, v6} {
		w.host.Run(tool, "-P", "FORWARD", "DROP")
		if docker {
			chain = "DOCKER-USER"
			w.host.Run(tool, "-N", "DOCKER-USER")
			w.host.Run(tool, "-A", "DOCKER-USER", "-j", "RETURN")
			w.host.Run(tool, "-A", "FORWARD", "-j", "DOCKER-USER")
		}
	}
	saved := w.host.Run(v4, "-S") + w.host.Run(v6, "-S")
	if o := obstacles(); len(o) != 2 || !strings.Contains(o[0].Rule, "FORWARD") || !strings.Contains(o[0].Remedy, "--allow-forward") {
		t.Errorf("obstacles: %+v", o)
	}
	cutOff(t, "outside", w.outside, "tcp", "192.0.2.1:8080")
	cutOff(t, "a container", w.a, "tcp", "192.0.2.2:80")

	allow(true)
	allow(true)
	if o := obstacles(); len(o) != 0 {
		t.Errorf("obstacles although allowed: %+v", o)
	}
	reaches(t, "outside", w.outside, "tcp", "192.0.2.1:8080", "192.0.2.2")
	reaches(t, "outside", w.outside, "tcp", "[2001:db8::1]:8080", "2001:db8::2")
	reaches(t, "a container", w.a, "tcp", "192.0.2.2:80", "192.0.2.1")
	reaches(t, "a neighbour", w.b, "tcp", "172.18.0.2:80", "172.18.0.3")
	if rules := w.host.Run(v4, "-S", chain); strings.Count(rules, "--comment catenet") != map[bool]int{false: 2, true: 4}[docker] {
		t.Errorf("the rules of one network in %s:\n%s", chain, rules)
	}

	w.host.MustDo(func() error { return w.f.Apply(t.Context(), Change{AddNetworks: []Network{back}}) })
	if rules := w.host.Run(v6, "-S", chain); !strings.Contains(rules, "-i br-back") {
		t.Errorf("a network that came later is not allowed:\n%s", rules)
	}
	w.host.MustDo(func() error { return w.f.Apply(t.Context(), Change{RemoveNetworks: []string{back.ID}}) })
	if rules := w.host.Run(v4, "-S", chain); strings.Contains(rules, "br-back") {
		t.Errorf("a network that is gone is still allowed:\n%s", rules)
	}
	w.host.Run(v4, "-F", chain) // ufw reload does
	w.host.MustDo(func() error { _, err := w.f.Check(t.Context()); return err })
	if rules := w.host.Run(v4, "-S", chain); !strings.Contains(rules, "-i br-front") {
		t.Errorf("Check did not put back what was flushed:\n%s", rules)
	}
	if docker {
		w.host.Run(v4, "-A", "DOCKER-USER", "-j", "RETURN")
	} else {
		saved = w.host.Run(v4, "-S") + saved[strings.LastIndex(saved, "-P INPUT"):]
		saved = dropMarked(saved)
	}
	allow(false)
	if after := w.host.Run(v4, "-S") + w.host.Run(v6, "-S"); after != saved {
		t.Errorf("theirs was\n%s\nand after DenyForward is\n%s", saved, after)
	}
}

func dropMarked(rules string) string {
	var b strings.Builder
	for l := range strings.Lines(rules) {
		if !strings.Contains(l, "catenet") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// TestObstacles of other tables: by policy, and by a rule for everything,
// as firewalld has one. Chains that only look like it are none.
func TestObstacles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nft.Options{})
	must(t, w.f.Restore(t.Context(), nil, nil))
	for _, cmd := range []string{
		"add table inet theirs",
		"add chain inet theirs forwarded { type filter hook forward priority 5; policy drop; }",
		"add chain inet theirs in { type filter hook input priority 5; policy drop; }",
		"add table inet firewalld",
		"add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }",
		"add rule inet firewalld filter_FORWARD ct state established accept",
		"add rule inet firewalld filter_FORWARD counter reject with icmpx type admin-prohibited",
		"add table ip harmless",
		"add chain ip harmless a { type filter hook forward priority 5; policy accept; }",
		"add rule ip harmless a ip saddr 192.0.2.9 drop",
		"add chain ip harmless b { type filter hook forward priority 5; policy accept; }",
		"add rule ip harmless b accept",
	} {
		w.host.Run("nft", cmd)
	}
	var got []catenet.Obstacle
	w.host.MustDo(func() (err error) { got, err = w.f.Obstacles(t.Context()); return err })
	if len(got) != 2 || got[0].Rule != "chain forwarded of table inet theirs has policy drop" ||
		got[1].Rule != "chain filter_FORWARD of table inet firewalld refuses what no rule of it accepts" {
		t.Errorf("obstacles: %+v", got)
	}
	for i, want := range []string{"nft insert rule inet theirs forwarded ", "firewall-cmd --permanent --zone=trusted "} {
		if i < len(got) && !strings.Contains(got[i].Remedy, want) {
			t.Errorf("the remedy of %q is %q", got[i].Rule, got[i].Remedy)
		}
	}
}
