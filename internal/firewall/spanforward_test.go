package firewall

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestSpansPassDocker: where Docker drops what is forwarded, containers of Docker's
// that have a part of a network of several hosts are reached from the others, unasked;
// what Docker refuses by a rule stays refused.
func TestSpansPassDocker(t *testing.T) {
	for _, tools := range [][2]string{{"iptables-nft", "ip6tables-nft"}, {"iptables-legacy", "ip6tables-legacy"}} {
		t.Run(tools[0], func(t *testing.T) {
			t.Parallel()
			testSpansPassDocker(t, tools[0], tools[1])
		})
	}
}

func testSpansPassDocker(t *testing.T, v4, v6 string) {
	w := newWorld(t, 1, nft.Options{})
	w.bridge("docker0", "10.6.1.1/24", "fd06:1::1/64")
	w.bridge("br-d", "172.30.0.1/16")
	k, l := w.container(t, "docker0", "k", "10.6.1.2/24", "fd06:1::2/64"), w.container(t, "docker0", "l", "10.6.1.3/24")
	d := w.container(t, "br-d", "m", "172.30.0.2/16")
	w.outside.Run("ip", "addr", "add", "10.6.2.2/32", "dev", "eth0")
	w.outside.Run("ip", "addr", "add", "fd06:2::2/128", "dev", "eth0", "nodad")
	w.outside.Run("ip", "route", "add", "10.6.1.0/24", "via", "192.0.2.1", "src", "10.6.2.2")
	w.outside.Run("ip", "route", "add", "fd06:1::/64", "via", "2001:db8::1", "src", "fd06:2::2")
	w.host.Run("ip", "route", "add", "10.6.2.0/24", "via", "192.0.2.2")
	w.host.Run("ip", "route", "add", "fd06:2::/64", "via", "2001:db8::2")
	serve(t, k, "tcp", ":80")
	serve(t, w.outside, "tcp", ":80")
	rules := func() string { return w.host.Run(v4, "-S") + w.host.Run(v6, "-S") }
	both := func(rule string) {
		for _, tool := range []string{v4, v6} {
			w.host.Run(tool, strings.Fields(rule)...)
		}
	}
	both("-N DOCKER-USER")
	for _, rule := range []string{
		"-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER",
		"-A FORWARD -i br-d -o docker0 -j DROP", "-A FORWARD -i docker0 -o br-d -j DROP", // its networks apart
		"-A FORWARD -i docker0 -o docker0 -j DROP", // --icc=false
		"-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
		"-P FORWARD DROP",
	} {
		both(rule)
	}
	saved := rules()
	shared := behind
	shared.Span, shared.Subnets = prefixes("10.6.0.0/16", "fd06::/16"), prefixes("10.6.1.0/24", "fd06:1::/64")
	must(t, w.f.Restore(t.Context(), []Network{front}, nil))
	change := func(c Change) { w.host.MustDo(func() error { return w.f.Apply(t.Context(), c) }) }

	cutOff(t, "a container elsewhere", w.outside, "tcp", "10.6.1.2:80")
	change(Change{AddNetworks: []Network{shared}})
	reaches(t, "a container elsewhere", w.outside, "tcp", "10.6.1.2:80", "10.6.2.2")
	reaches(t, "a container elsewhere", w.outside, "tcp", "[fd06:1::2]:80", "fd06:2::2")
	reaches(t, "a container, elsewhere", k, "tcp", "10.6.2.2:80", "10.6.1.2")
	cutOff(t, "another network of Docker's", d, "tcp", "10.6.1.2:80")
	cutOff(t, "a container kept from others", l, "tcp", "10.6.1.2:80")
	if got := rules(); strings.Contains(got, "br-front") {
		t.Errorf("a bridge of ours is accepted, which nobody has asked for:\n%s", got)
	}

	w.host.MustDo(func() error { return w.f.AllowForward(t.Context()) })
	w.host.MustDo(func() error { return w.f.DenyForward(t.Context()) })
	reaches(t, "a container elsewhere, after bridges were allowed and denied", w.outside, "tcp", "10.6.1.2:80", "10.6.2.2")

	change(Change{RemoveNetworks: []string{shared.ID}})
	if got := rules(); got != saved {
		t.Errorf("theirs was\n%s\nand is\n%s", saved, got)
	}
}

// TestSpansPassWhoComesLater: a dockerd that starts after us makes its chains, and
// what is ours is in them at once.
func TestSpansPassWhoComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, nft.Options{})
	must(t, w.f.Restore(t.Context(), []Network{behind}, nil))
	w.f.every = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.host.Do(func() error { return w.f.Watch(ctx) }) }()
	defer func() { cancel(); <-ended }()
	w.host.Run("iptables-nft", "-P", "FORWARD", "DROP")
	for end := time.Now().Add(10 * time.Second); strings.Count(w.host.Run("iptables-nft", "-S", "FORWARD"), "10.6.0.0/16") != 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing of ours in\n%s", w.host.Run("iptables-nft", "-S", "FORWARD"))
		}
	}
	var o []catenet.Obstacle
	w.host.MustDo(func() (err error) { o, err = w.f.Obstacles(t.Context()); return err })
	if len(o) != 1 {
		t.Errorf("obstacles to bridges of ours, which are not accepted: %v", o)
	}
}
