package fake

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// joined is a machine with one container on one bridge.
func joined(t *testing.T, k *Kernel) *kernel.Namespace {
	t.Helper()
	ctx := t.Context()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Open("/ns/a"); catenet.IsNotFound(err) {
		do(k.Create(ctx, "/ns/a"))
	}
	ns, err := k.Open("/ns/a")
	do(err)
	do(k.EnableForwarding(ctx, true, false))
	do(k.EnsureLink(ctx, kernel.Link{Name: "br0", Kind: "bridge", Alias: "catenet:n", MTU: 1400, NoIPv6: true,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}))
	do(k.EnsureLink(ctx, kernel.Link{Name: "cn1", Kind: "veth", Alias: "catenet:e", Master: "br0", Isolated: true,
		Peer: &kernel.Peer{Name: "eth0", NS: ns}}))
	do(k.Dress(ctx, ns, kernel.Outfit{ResolverPort: 53, Interfaces: []kernel.Interface{{
		Link: "eth0", Name: "eth0", Alias: "catenet:e", MTU: 1400, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, NoIPv6: true,
		Addrs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
		Routes: []kernel.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.1")}},
	}}}))
	return ns
}

const joinedText = `bridge link set dev cn1 isolated on
ip addr add 10.0.0.1/24 dev br0
ip link add br0 mtu 1400 type bridge
ip link add cn1 mtu 1400 type veth peer name eth0 netns /ns/a
ip link set br0 alias catenet:n
ip link set cn1 alias catenet:e
ip link set cn1 master br0
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv6.conf.br0.disable_ipv6=1
ip netns add /ns/a
ip -n /ns/a addr add 10.0.0.2/24 dev eth0
ip -n /ns/a link set eth0 up mtu 1400 address 02:00:00:00:00:02 alias catenet:e
ip -n /ns/a nft redirect 127.0.0.11:53 to :53
ip -n /ns/a route add 0.0.0.0/0 via 10.0.0.1 dev eth0
ip -n /ns/a sysctl -w net.ipv6.conf.eth0.disable_ipv6=1
`

func TestStateIsCommands(t *testing.T) {
	k := New()
	joined(t, k)
	if diff := cmp.Diff(joinedText, k.String()); diff != "" {
		t.Error(diff)
	}
	before := k.Writes()
	ns := joined(t, k)
	if n := k.Writes() - before; n != 0 {
		t.Errorf("a second pass wrote %d changes", n)
	}
	if err := k.Dress(t.Context(), ns, kernel.Outfit{NoResolver: true}); err != nil || strings.Contains(k.String(), "redirect") {
		t.Errorf("the redirect is still there, %v:\n%s", err, k)
	}
}

func TestHarmIsToldAndMended(t *testing.T) {
	k := New()
	ns := joined(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	losses, ended := make(chan kernel.Loss, 10), make(chan error, 1)
	go func() { ended <- k.Watch(ctx, func(l kernel.Loss) { losses <- l }) }()
	for watching := false; !watching; {
		k.mu.Lock()
		watching = len(k.watchers) > 0
		k.mu.Unlock()
	}
	for want, harm := range map[kernel.Loss]func(){
		{Link: "cn1"}:         func() { k.Break("cn1") },
		{Link: "br0"}:         func() { k.Break("br0") },
		{Namespace: ns.Inode}: func() { k.Strip("/ns/a", "eth0") },
	} {
		harm()
		if got := <-losses; got != want {
			t.Errorf("told of %+v, want %+v", got, want)
		}
		if k.String() == joinedText {
			t.Errorf("%+v: no harm was done", want)
		}
		joined(t, k)
		if diff := cmp.Diff(joinedText, k.String()); diff != "" {
			t.Error(diff)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestFailAt(t *testing.T) {
	k, boom := New(), errors.New("boom")
	k.FailAt(2, boom)
	if err := k.Create(t.Context(), "/ns/a"); err != nil {
		t.Error(err)
	}
	if err := k.Create(t.Context(), "/ns/b"); !errors.Is(err, boom) {
		t.Errorf("the second call: %v", err)
	}
	if err := k.Create(t.Context(), "/ns/b"); err != nil {
		t.Error(err)
	}
	if err := k.Create(t.Context(), "/ns/b"); !catenet.IsConflict(err) {
		t.Errorf("twice at one path: %v", err)
	}
}

// A namespace goes with its last place, and its links with it.
func TestNamespaceGoes(t *testing.T) {
	k := New()
	ns := joined(t, k)
	if err := k.Pin(t.Context(), "/ns/a", "/ns/pin"); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- k.Gone(t.Context(), kernel.Target{Path: "/ns/a", Inode: ns.Inode}) }()
	k.Vanish("/ns/a")
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if links, _ := k.Links(t.Context()); len(links) != 2 {
		t.Errorf("links of a pinned namespace: %+v", links)
	}
	if err := k.Unpin(t.Context(), "/ns/pin"); err != nil {
		t.Fatal(err)
	}
	if links, _ := k.Links(t.Context()); len(links) != 1 || links[0].Name != "br0" {
		t.Errorf("links after its end: %+v", links)
	}
	if err := k.Dress(t.Context(), ns, kernel.Outfit{}); !catenet.IsNotFound(err) {
		t.Errorf("dressing what is gone: %v", err)
	}
}
