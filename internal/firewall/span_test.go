package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet/internal/kernel/nft"
)

var (
	across = Network{
		ID: "across000000", Link: "br-across", Subnets: prefixes("10.5.1.0/24", "fd05:1::/64"),
		Span: prefixes("10.5.0.0/16", "fd05::/16"), By: []string{"up0"},
		Hosts: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")},
		V4:    Gateway{Masquerade: true}, V6: Gateway{Masquerade: true},
	}
	behind = Network{ // somebody else's bridge
		ID: "behind000000", Subnets: prefixes("10.6.1.0/24"), Span: prefixes("10.6.0.0/16"), By: []string{"up0"}, V4: Gateway{Masquerade: true},
	}
)

// What is of a network on another host, which is outside here, is as what is of
// it on this one.
func TestSpanPackets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, nft.Options{})
	w.bridge("br-across", "10.5.1.1/24", "fd05:1::1/64")
	k := w.container(t, "br-across", "k", "10.5.1.2/24", "fd05:1::2/64")
	for _, a := range []string{"10.5.2.2/32", "fd05:2::2/128", "192.0.2.7/24", "2001:db8::7/64"} {
		w.outside.Run("ip", "addr", "add", a, "dev", "eth0", "nodad")
	}
	w.host.Run("ip", "route", "add", "10.5.2.0/24", "via", "192.0.2.2")
	w.host.Run("ip", "route", "add", "fd05:2::/64", "via", "2001:db8::2")
	as := func(four, six string) { // who outside is
		w.outside.Run("ip", "route", "replace", "10.5.1.0/24", "via", "192.0.2.1", "src", four)
		w.outside.Run("ip", "route", "replace", "fd05:1::/64", "via", "2001:db8::1", "src", six)
	}
	must(t, w.f.Restore(t.Context(), []Network{front, across}, nil))
	serve(t, k, "tcp", ":80")
	serve(t, w.outside, "tcp", ":80")

	as("10.5.2.2", "fd05:2::2")
	reaches(t, "a container elsewhere", w.outside, "tcp", "10.5.1.2:80", "10.5.2.2")
	reaches(t, "a container elsewhere", w.outside, "tcp", "[fd05:1::2]:80", "fd05:2::2")
	as("192.0.2.7", "2001:db8::7")
	reaches(t, "the other host", w.outside, "tcp", "10.5.1.2:80", "192.0.2.7")
	reaches(t, "the other host", w.outside, "tcp", "[fd05:1::2]:80", "2001:db8::7")
	as("192.0.2.2", "2001:db8::2")
	cutOff(t, "somebody else", w.outside, "tcp", "10.5.1.2:80")
	cutOff(t, "somebody else", w.outside, "tcp", "[fd05:1::2]:80")

	reaches(t, "a container, elsewhere", k, "tcp", "10.5.2.2:80", "10.5.1.2")
	reaches(t, "a container, elsewhere", k, "tcp", "[fd05:2::2]:80", "fd05:1::2")
	reaches(t, "a container, outside", k, "tcp", "192.0.2.2:80", "192.0.2.1")
	reaches(t, "another network's, elsewhere", w.a, "tcp", "10.5.2.2:80", "192.0.2.1")
	cutOff(t, "another network's, here", w.a, "tcp", "10.5.1.2:80")

	apart := across
	apart.NoICC = true
	as("10.5.2.2", "fd05:2::2")
	must(t, w.f.Apply(t.Context(), Change{AddNetworks: []Network{apart}}))
	cutOff(t, "elsewhere, without icc", w.outside, "tcp", "10.5.1.2:80")

	internal := across
	internal.Internal = true
	must(t, w.f.Apply(t.Context(), Change{AddNetworks: []Network{internal}}))
	reaches(t, "elsewhere, internal", w.outside, "tcp", "10.5.1.2:80", "10.5.2.2")
	reaches(t, "internal, elsewhere", k, "tcp", "10.5.2.2:80", "10.5.1.2")
	cutOff(t, "internal, outside", k, "tcp", "192.0.2.2:80")
}

// Where the containers are somebody else's, they are let be, and hidden outside.
func TestSpanOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, nft.Options{})
	w.bridge("docker0", "10.6.1.1/24")
	k := w.container(t, "docker0", "k", "10.6.1.2/24")
	w.outside.Run("ip", "addr", "add", "10.6.2.2/32", "dev", "eth0")
	w.outside.Run("ip", "route", "add", "10.6.1.0/24", "via", "192.0.2.1", "src", "10.6.2.2")
	w.host.Run("ip", "route", "add", "10.6.2.0/24", "via", "192.0.2.2")
	must(t, w.f.Restore(t.Context(), []Network{front, behind}, nil))
	serve(t, k, "tcp", ":80")
	serve(t, w.outside, "tcp", ":80")
	reaches(t, "a container elsewhere", w.outside, "tcp", "10.6.1.2:80", "10.6.2.2")
	reaches(t, "a container, elsewhere", k, "tcp", "10.6.2.2:80", "10.6.1.2")
	reaches(t, "a container, outside", k, "tcp", "192.0.2.2:80", "192.0.2.1")
	reaches(t, "another network's, elsewhere", w.a, "tcp", "10.6.2.2:80", "192.0.2.1")
	must(t, w.f.Apply(t.Context(), Change{RemoveNetworks: []string{behind.ID}}))
	if rules := w.host.Run("nft", "list", "ruleset"); strings.Contains(rules, "10.6.") {
		t.Errorf("left behind:\n%s", rules)
	}
}
