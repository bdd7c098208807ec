package link

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// timers and the like are what changes by itself; the error is what ip(8) says
// when a namespace of its folder goes while it looks through it.
var timers = regexp.MustCompile(`timer +[0-9.]+|NO-CARRIER,|,LOWER_UP| linkdown|state [A-Za-z]+|qdisc [a-z]+|Error: Peer netns reference is invalid.\n`)

// comparePrefixes lets go-cmp look at addresses.
var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})

// attached is a host with a bridge, and a namespace on it.
type attached struct {
	t    *testing.T
	host *kerneltest.NS
	ctr  *kerneltest.NS
	h    *Host
	ns   *kernel.Namespace
}

func newAttached(t *testing.T) *attached {
	t.Parallel()
	a := &attached{t: t, host: kerneltest.New(t), ctr: kerneltest.New(t)}
	a.h, a.ns = openIn(t, a.host, func(context.Context, kernel.Outfit) error { return nil }), at(t, a.ctr.Path)
	a.attach()
	return a
}

func (a *attached) outfit() kernel.Outfit {
	return kernel.Outfit{Interfaces: []kernel.Interface{insideOf(1, "eth0")}, ResolverPort: 5353}
}

func (a *attached) attach() {
	a.t.Helper()
	for _, l := range []kernel.Link{bridgeLink(), vethLink(1, a.ns, "eth0")} {
		if err := a.h.EnsureLink(a.t.Context(), l); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := a.h.Dress(a.t.Context(), a.ns, a.outfit()); err != nil {
		a.t.Fatal(err)
	}
}

// settled fails unless a further pass writes nothing.
func (a *attached) settled() {
	a.t.Helper()
	before := a.h.Writes()
	a.attach()
	if n := a.h.Writes() - before; n != 0 {
		a.t.Errorf("a further pass wrote %d changes", n)
	}
}

// state is everything that could have been changed.
func (a *attached) state() string {
	var out strings.Builder
	for _, ns := range []*kerneltest.NS{a.host, a.ctr} {
		for _, args := range [][]string{{"-d", "link"}, {"-o", "addr"}, {"route"}, {"-6", "route"}} {
			out.WriteString(timers.ReplaceAllString(ns.Run("ip", args...), ""))
		}
		out.WriteString(ns.Run("sh", "-c", "grep -r . /proc/sys/net/ipv6/conf/*/accept_ra /proc/sys/net/ipv6/conf/*/disable_ipv6 /proc/sys/net/ipv4/conf/*/forwarding"))
	}
	return out.String()
}

func TestAttachedContainerReachesItsGateway(t *testing.T) {
	a := newAttached(t)
	a.ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
	a.settled()
	out := a.host.Run("ip", "-d", "link", "show", vethLink(1, nil, "").Name)
	for _, want := range []string{"master br0", "isolated on", "hairpin off", "alias catenet:000000000001", "UP", "addrgenmode none"} {
		if !strings.Contains(out, want) {
			t.Errorf("the host's link is not %q:\n%s", want, out)
		}
	}
	if out := a.ctr.Run("ip", "-o", "addr", "show", "eth0"); strings.Contains(out, "inet6") || !strings.Contains(out, "10.9.0.3/16 brd 10.9.255.255") {
		t.Errorf("inside: %s", out)
	}
	if out := a.host.Run("ip", "-o", "-6", "addr"); strings.Contains(out, "fe80") {
		t.Errorf("the host has link-local addresses: %s", out)
	}
}

func TestLinksTellsWhatIsOurs(t *testing.T) {
	a := newAttached(t)
	a.host.Run("ip", "link", "add", "theirs", "type", "bridge")
	a.host.Run("ip", "addr", "add", "10.77.0.1/16", "dev", "br0")
	got, err := a.h.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	br, veth := bridgeLink(), vethLink(1, nil, "")
	br.MTU, br.NoIPv6, veth.Peer = 1500, false, nil
	want := []kernel.Link{br, veth}
	if diff := cmp.Diff(want, got, comparePrefixes, cmpopts.IgnoreFields(kernel.Link{}, "MAC"),
		cmpopts.SortSlices(func(a, b kernel.Link) bool { return a.Name < b.Name })); diff != "" {
		t.Error(diff)
	}
}

// Whatever somebody breaks, the next pass mends, and the one after that finds
// nothing to do.
func TestRepair(t *testing.T) {
	veth := vethLink(1, nil, "").Name
	for name, harm := range map[string]func(a *attached){
		"address deleted":        func(a *attached) { a.ctr.Run("ip", "addr", "del", "10.9.0.3/16", "dev", "eth0") },
		"addresses flushed":      func(a *attached) { a.ctr.Run("ip", "addr", "flush", "dev", "eth0") },
		"route deleted":          func(a *attached) { a.ctr.Run("ip", "route", "del", "default") },
		"inside down":            func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "down") },
		"inside renamed":         func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "name", "lan") },
		"inside MAC":             func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:09") },
		"inside MTU":             func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "mtu", "1400") },
		"inside deleted":         func(a *attached) { a.ctr.Run("ip", "link", "del", "eth0") },
		"lo down":                func(a *attached) { a.ctr.Run("ip", "link", "set", "lo", "down") },
		"outside deleted":        func(a *attached) { a.host.Run("ip", "link", "del", veth) },
		"outside down":           func(a *attached) { a.host.Run("ip", "link", "set", veth, "down") },
		"outside MTU":            func(a *attached) { a.host.Run("ip", "link", "set", veth, "mtu", "1400") },
		"inside too narrow":      func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "mtu", "600") },
		"outside too narrow":     func(a *attached) { a.host.Run("sh", "-c", "ip link set "+veth+" mtu 600; ip link set br0 mtu 1500") },
		"outside off the bridge": func(a *attached) { a.host.Run("ip", "link", "set", veth, "nomaster") },
		"isolation off":          func(a *attached) { a.host.Run("bridge", "link", "set", "dev", veth, "isolated", "off") },
		"filter deleted":         func(a *attached) { a.host.Run("tc", "filter", "del", "dev", veth, "ingress") },
		"qdisc deleted":          func(a *attached) { a.host.Run("tc", "qdisc", "del", "dev", veth, "clsact") },
		"bridge deleted":         func(a *attached) { a.host.Run("ip", "link", "del", "br0") },
		"bridge down":            func(a *attached) { a.host.Run("ip", "link", "set", "br0", "down") },
		"bridge address deleted": func(a *attached) { a.host.Run("ip", "addr", "del", "10.9.0.1/16", "dev", "br0") },
		"bridge IPv6 on":         func(a *attached) { a.host.Run("sysctl", "-w", "net.ipv6.conf.br0.disable_ipv6=0") },
		"IPv6 on inside":         func(a *attached) { a.ctr.Run("sysctl", "-w", "net.ipv6.conf.eth0.disable_ipv6=0") },
		"a route of ours more":   func(a *attached) { a.ctr.Run("ip", "route", "add", "10.8.0.0/16", "dev", "eth0", "proto", "159") },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttached(t)
			harm(a)
			before := a.h.Writes()
			a.attach()
			if a.h.Writes() == before {
				t.Error("nothing was mended")
			}
			a.settled()
			a.ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
			if out := a.ctr.Run("ip", "route"); strings.Contains(out, "10.8.0.0") || !strings.Contains(out, "default via 10.9.0.1 dev eth0 proto 159") {
				t.Errorf("routes: %s", out)
			}
		})
	}
}

func TestStrangersAddressesStay(t *testing.T) {
	a := newAttached(t)
	a.ctr.Run("ip", "addr", "add", "10.9.7.7/32", "dev", "eth0")
	a.settled()
	if out := a.ctr.Run("ip", "addr"); !strings.Contains(out, "10.9.7.7/32") {
		t.Error("an address that the container added is gone")
	}
}

// A namespace that was replaced by another gets the veth of its predecessor.
func TestVethFollowsItsNamespace(t *testing.T) {
	a := newAttached(t)
	second := kerneltest.New(t)
	a.ctr, a.ns = second, at(t, second.Path)
	a.attach()
	a.settled()
	second.Run("ping", "-c1", "-W2", "10.9.0.1")
}

func TestConflictsChangeNothing(t *testing.T) {
	a := newAttached(t)
	a.host.Run("ip", "link", "add", "theirs", "type", "bridge")
	a.host.Run("ip", "link", "add", "ctn000000000009", "type", "veth", "peer", "name", "other")
	a.host.Run("ip", "link", "set", "ctn000000000009", "alias", "somebody's")
	a.ctr.Run("ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
	before := a.state()
	theirs := bridgeLink()
	theirs.Name = "theirs"
	wrongKind := bridgeLink()
	wrongKind.Name = vethLink(1, nil, "").Name
	for name, l := range map[string]kernel.Link{
		"another's bridge": theirs,
		"another kind":     wrongKind,
		"another's veth":   vethLink(9, a.ns, "eth9"),
		"peer's name":      vethLink(2, a.ns, "eth7"),
	} {
		if err := a.h.EnsureLink(t.Context(), l); !catenet.IsConflict(err) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	orphan := vethLink(3, a.ns, "eth9")
	orphan.Master = "br-none"
	if err := a.h.EnsureLink(t.Context(), orphan); !catenet.IsNotFound(err) {
		t.Errorf("no such bridge: %v", err)
	}
	bad := vethLink(4, a.ns, "eth9")
	bad.MTU = 7
	if err := a.h.EnsureLink(t.Context(), bad); !catenet.IsInvalid(err) {
		t.Errorf("MTU 7: %v", err)
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Error(diff)
	}
}

func TestDeleteLinks(t *testing.T) {
	a := newAttached(t)
	a.host.Run("ip", "link", "add", "theirs", "type", "bridge")
	if err := a.h.EnsureLink(t.Context(), vethLink(2, a.ns, "eth1")); err != nil {
		t.Fatal(err)
	}
	names := []string{"theirs", "never", vethLink(1, nil, "").Name, vethLink(2, nil, "").Name, "br0"}
	for range 2 {
		if err := a.h.DeleteLinks(t.Context(), names...); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.h.DeleteLinks(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
	if out := a.host.Run("ip", "-br", "link"); strings.Contains(out, "ctn0") || strings.Contains(out, "br0") || !strings.Contains(out, "theirs") {
		t.Errorf("left on the host: %s", out)
	}
	if out := a.ctr.Run("ip", "-br", "link"); strings.Contains(out, "eth") {
		t.Errorf("left inside: %s", out)
	}
}

// TestDeleteLinksLeavesStrangers: a veth without an alias is ours by its
// prefix alone. What cannot be looked up keeps no other from going.
func TestDeleteLinksLeavesStrangers(t *testing.T) {
	a := newAttached(t)
	a.host.Run("ip", "link", "add", "theirs", "type", "veth", "peer", "name", "other")
	a.host.Run("ip", "link", "add", "ctncut", "type", "veth", "peer", "name", "cut")
	err := a.h.DeleteLinks(t.Context(), "a name that no link can have", "theirs", "ctncut", vethLink(1, nil, "").Name)
	if err == nil || !strings.Contains(err.Error(), "a name that") {
		t.Errorf("a name that no link can have: %v", err)
	}
	if out := a.host.Run("ip", "-br", "link"); strings.Contains(out, "ctn") || !strings.Contains(out, "theirs") {
		t.Errorf("left on the host: %s", out)
	}
}

func TestRoutesAndDefaultLink(t *testing.T) {
	t.Parallel()
	host, up := kerneltest.New(t), kerneltest.New(t)
	h := openIn(t, host, nil)
	if name, mtu, err := h.DefaultLink(t.Context()); name != "" || mtu != 1500 || err != nil {
		t.Errorf("without a default route: %q, %d, %v", name, mtu, err)
	}
	kerneltest.Connect(host, "wan", "192.0.2.2/24", up, "e0", "192.0.2.1/24")
	host.Run("ip", "link", "set", "wan", "mtu", "1420")
	host.Run("ip", "addr", "add", "2001:db8::2/64", "dev", "wan", "nodad")
	host.Run("ip", "route", "add", "10.50.0.0/16", "via", "192.0.2.1")
	host.Run("ip", "route", "add", "blackhole", "10.60.0.0/16")
	host.Run("ip", "route", "add", "10.70.0.0/16", "via", "192.0.2.1", "table", "52")
	host.Run("ip", "route", "add", "default", "via", "192.0.2.1", "table", "52")
	host.Run("ip", "-6", "route", "add", "fd70::/64", "via", "2001:db8::1", "table", "4242")
	host.Run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
	if name, mtu, err := h.DefaultLink(t.Context()); name != "wan" || mtu != 1420 || err != nil {
		t.Errorf("by IPv6: %q, %d, %v", name, mtu, err)
	}
	kerneltest.Connect(host, "wan2", "198.51.100.2/24", up, "e1", "")
	host.Run("ip", "route", "add", "default", "via", "198.51.100.1", "metric", "5")
	if name, _, err := h.DefaultLink(t.Context()); name != "wan2" || err != nil {
		t.Errorf("by IPv4: %q, %v", name, err)
	}
	got, err := h.Routes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, p := range got {
		text = append(text, p.String())
	}
	want := []string{"10.50.0.0/16", "10.60.0.0/16", "10.70.0.0/16", "127.0.0.1/8", "192.0.2.0/24", "192.0.2.2/24",
		"198.51.100.0/24", "198.51.100.2/24", "::1/128", "2001:db8::/64", "2001:db8::2/64", "fd70::/64"}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}
