package link

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// hosts are two hosts on one wire, 192.0.2.1 and .2, and the first one's Host.
func hosts(t *testing.T) (h *Host, one, two *kerneltest.NS) {
	t.Helper()
	one, two = kerneltest.New(t), kerneltest.New(t)
	kerneltest.Connect(one, "wan", "192.0.2.1/24", two, "wan", "192.0.2.2/24")
	return openIn(t, one, nil), one, two
}

func vtep(n byte) kernel.Link {
	return kernel.Link{
		Name: "flannel.7", Kind: "vxlan", Alias: kernel.Mark + "net", MTU: 1450, MAC: vtepMAC(n),
		Addrs:  []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, n, 0}), 32)},
		NoIPv6: true,
		VXLAN:  &kernel.VXLAN{VNI: 7, Local: netip.AddrFrom4([4]byte{192, 0, 2, n}), Under: "wan"},
	}
}

func vtepMAC(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }

// byVXLAN is how host n is reached.
func byVXLAN(n byte) kernel.Reach {
	base := netip.AddrFrom4([4]byte{10, 5, n, 0})
	return kernel.Reach{Link: "flannel.7", Subnet: netip.PrefixFrom(base, 24), Via: base, OnLink: true,
		MAC: vtepMAC(n), Remote: netip.AddrFrom4([4]byte{192, 0, 2, n})}
}

func byGateway(n byte) kernel.Reach {
	r := byVXLAN(n)
	return kernel.Reach{Link: "wan", Subnet: r.Subnet, Via: r.Remote}
}

// reached returns what Reached does, sorted.
func reached(t *testing.T, h *Host) []kernel.Reach {
	t.Helper()
	found, err := h.Reached(t.Context(), "flannel.7", "absent0")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b kernel.Reach) int { return strings.Compare(a.Subnet.String(), b.Subnet.String()) })
	return found
}

// Packets cross a vxlan that both sides made, without a word of ARP.
func TestReachByVXLAN(t *testing.T) {
	t.Parallel()
	h, _, two := hosts(t)
	if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
		t.Fatal(err)
	}
	two.Run("ip", "link", "add", "flannel.7", "address", vtepMAC(2).String(), "type", "vxlan", "id", "7", "dstport", "8472", "local", "192.0.2.2", "nolearning")
	two.Run("ip", "addr", "add", "10.5.2.0/32", "dev", "flannel.7")
	two.Run("ip", "link", "set", "flannel.7", "up")
	two.Run("ip", "neigh", "add", "10.5.1.0", "lladdr", vtepMAC(1).String(), "dev", "flannel.7", "nud", "permanent")
	two.Run("bridge", "fdb", "add", vtepMAC(1).String(), "dev", "flannel.7", "dst", "192.0.2.1")
	two.Run("ip", "route", "add", "10.5.1.0/24", "via", "10.5.1.0", "dev", "flannel.7", "onlink")
	look := kernel.Looking(t.Context())
	if err := h.Reach(look, []kernel.Reach{byVXLAN(2)}, nil); !catenet.IsConflict(err) {
		t.Errorf("looking, before: %v", err)
	}
	for range 2 { // what is there already is no error
		if err := h.Reach(t.Context(), []kernel.Reach{byVXLAN(2)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Reach(look, []kernel.Reach{byVXLAN(2)}, nil); err != nil {
		t.Errorf("looking, after: %v", err)
	}
	two.Run("ping", "-c1", "-W2", "-I", "10.5.2.0", "10.5.1.0")
	if got, want := reached(t, h), []kernel.Reach{byVXLAN(2)}; !reflect.DeepEqual(got, want) {
		t.Errorf("reached %+v, want %+v", got, want)
	}
	if err := h.Reach(t.Context(), nil, []kernel.Reach{byVXLAN(2)}); err != nil {
		t.Fatal(err)
	}
	if got := reached(t, h); len(got) > 0 {
		t.Errorf("after removal: %+v", got)
	}
}

// A link that is there is kept; one of another number is made anew.
func TestVXLANIsKept(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	l := vtep(1)
	ensure := func() string {
		t.Helper()
		if err := h.EnsureLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		return one.Run("ip", "-d", "link", "show", "flannel.7")
	}
	first, before := ensure(), h.Writes()
	if got := ensure(); got != first || h.Writes() != before {
		t.Errorf("made anew, or written to:\n%s\n%s", first, got)
	}
	for what, change := range map[string]func(*kernel.VXLAN){
		"id 8 ":              func(v *kernel.VXLAN) { v.VNI = 8 },
		"dstport 4789 ":      func(v *kernel.VXLAN) { v.Port = 4789 },
		"local 192.0.2.9 ":   func(v *kernel.VXLAN) { v.Local = netip.MustParseAddr("192.0.2.9") },
		" learning ":         func(v *kernel.VXLAN) { v.Learning = true },
		" gbp ":              func(v *kernel.VXLAN) { v.GBP = true },
		"vxlan id 7 dstport": func(v *kernel.VXLAN) { v.Local, v.Under = netip.Addr{}, "" },
	} {
		l = vtep(1)
		change(l.VXLAN)
		words := strings.ReplaceAll(ensure(), "srcport 0 0 ", "")
		if what == " learning " {
			if strings.Contains(words, "nolearning") {
				t.Errorf("it does not learn: %s", words)
			}
		} else if !strings.Contains(words, what) {
			t.Errorf("no %q in %s", what, words)
		}
	}
}

// A peer whose host or way changes goes on being reached; what is another's stays.
func TestReachChanges(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
		t.Fatal(err)
	}
	moved := byVXLAN(2)
	moved.MAC, moved.Remote = vtepMAC(99), netip.MustParseAddr("192.0.2.99")
	last := []kernel.Reach{byVXLAN(3)}
	if err := h.Reach(t.Context(), []kernel.Reach{byVXLAN(2), last[0]}, nil); err != nil {
		t.Fatal(err)
	}
	for _, next := range []kernel.Reach{moved, byGateway(2), byVXLAN(2)} {
		want := []kernel.Reach{next, byVXLAN(3)}
		if err := h.Reach(t.Context(), want[:1], reached(t, h)[:1]); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, h); !reflect.DeepEqual(got, want) {
			t.Errorf("reached %+v, want %+v", got, want)
		}
	}
	if fdb := one.Run("bridge", "fdb", "show", "dev", "flannel.7"); strings.Count(fdb, "dst") != 2 {
		t.Errorf("entries of who was reached are left:\n%s", fdb)
	}
}

// Somebody else's route is left, and told of; the other peers are reached.
func TestReachBesideOthers(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	one.Run("ip", "route", "add", "10.5.2.0/24", "via", "192.0.2.77")
	err := h.Reach(t.Context(), []kernel.Reach{byGateway(2), byGateway(3), {Link: "absent0", Subnet: byGateway(4).Subnet}}, nil)
	if !strings.Contains(fmt.Sprint(err), "10.5.2.0/24") {
		t.Errorf("%v, want a conflict about 10.5.2.0/24", err)
	}
	if !strings.Contains(fmt.Sprint(err), "absent0") {
		t.Errorf("%v does not tell of absent0", err)
	}
	if err := h.Reach(t.Context(), nil, []kernel.Reach{byGateway(2)}); err != nil {
		t.Fatal(err)
	}
	routes := one.Run("ip", "route")
	for _, want := range []string{"10.5.2.0/24 via 192.0.2.77", "10.5.3.0/24 via 192.0.2.3 dev wan proto 159"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in\n%s", want, routes)
		}
	}
	if got, want := reached(t, h), []kernel.Reach{byGateway(3)}; !reflect.DeepEqual(got, want) {
		t.Errorf("reached %+v, want %+v", got, want)
	}
}

// A thousand peers are more than one batch.
func TestReachMany(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	var all []kernel.Reach
	for n := range 1000 {
		all = append(all, kernel.Reach{Link: "wan", Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(8 + n/250), byte(n % 250), 0}), 24),
			Via: netip.MustParseAddr("192.0.2.2")})
	}
	for range 2 { // the second time each is refused, and found to be right
		if err := h.Reach(t.Context(), all, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(reached(t, h)); got != len(all) {
		t.Errorf("%d reached, want %d", got, len(all))
	}
	if err := h.Reach(t.Context(), all[:1], all); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(one.Run("ip", "route"), "proto 159"); got != 1 {
		t.Errorf("%d routes are left, want the one that stays", got)
	}
}

func TestReach6(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	one.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "wan", "nodad")
	r := kernel.Reach{Link: "wan", Subnet: netip.MustParsePrefix("fd05:2::/64"), Via: netip.MustParseAddr("2001:db8::2")}
	for range 2 {
		if err := h.Reach(t.Context(), []kernel.Reach{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := reached(t, h); !reflect.DeepEqual(got, []kernel.Reach{r}) {
		t.Errorf("reached %+v, want %+v", got, r)
	}
	if err := h.Reach(t.Context(), nil, []kernel.Reach{r}); err != nil {
		t.Fatal(err)
	}
	if got := reached(t, h); len(got) > 0 {
		t.Errorf("after removal: %+v", got)
	}
}

// Whatever may have taken a way to another host is told, and what may have the others
// know this one otherwise.
func TestWatchReach(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]string{
		"route":      "ip route del 10.5.3.0/24",
		"neighbour":  "ip neigh del 10.5.2.0 dev flannel.7",
		"forwarding": "bridge fdb del 02:00:00:00:00:02 dev flannel.7",
		"link":       "ip link set wan down; ip link set wan up",
		"smaller":    "ip link set wan mtu 1400",
		"address":    "ip addr add 198.51.100.1/24 dev wan",
		"no address": "ip addr del 192.0.2.1/24 dev wan",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, one, _ := hosts(t)
			if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
				t.Fatal(err)
			}
			if err := h.Reach(t.Context(), []kernel.Reach{byVXLAN(2), byGateway(3)}, nil); err != nil {
				t.Fatal(err)
			}
			a := &attached{t: t, h: h}
			losses := a.watched()
			one.Run("sh", "-c", harm)
			told(t, losses, kernel.Loss{Reach: true})
		})
	}
}

// Neighbours without a route, of a change that was cut short, are known too.
func TestReachedOrphan(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
		t.Fatal(err)
	}
	if err := h.Reach(t.Context(), []kernel.Reach{byVXLAN(2)}, nil); err != nil {
		t.Fatal(err)
	}
	one.Run("ip", "route", "del", "10.5.2.0/24")
	got := reached(t, h)
	if len(got) != 1 || got[0].Subnet.IsValid() || got[0].Via != byVXLAN(2).Via {
		t.Fatalf("reached %+v", got)
	}
	if err := h.Reach(t.Context(), nil, got); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) { // the neighbour is freed behind
		if got = reached(t, h); len(got) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after removal: %+v", got)
		}
	}
}

func TestUnderlay(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	if _, err := h.Underlay(t.Context(), ""); !catenet.IsNotFound(err) {
		t.Errorf("without a default route: %v", err)
	}
	one.Run("ip", "route", "add", "default", "via", "192.0.2.2")
	one.Run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2")
	one.Run("ip", "addr", "add", "192.0.2.9/24", "dev", "wan")
	one.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "wan", "nodad")
	one.Run("ip", "addr", "add", "2001:db8::2/64", "dev", "wan", "nodad", "preferred_lft", "0")
	one.Run("ip", "link", "set", "wan", "mtu", "1400")
	want := kernel.Underlay{Link: "wan", MTU: 1400, IPv4: addrs("192.0.2.1", "192.0.2.9"), IPv6: addrs("2001:db8::1")}
	for _, which := range []string{"", "wan", "192.0.2.9", "2001:db8::1"} {
		if u, err := h.Underlay(t.Context(), which); err != nil || !reflect.DeepEqual(u, want) {
			t.Errorf("%q: %+v %v, want %+v", which, u, err, want)
		}
	}
	for _, which := range []string{"wan9", "192.0.2.2"} {
		if _, err := h.Underlay(t.Context(), which); !catenet.IsNotFound(err) {
			t.Errorf("%s: %v", which, err)
		}
	}
	direct, err := h.Direct(t.Context(), addrs("203.0.113.5", "192.0.2.7", "2001:db8::7", "2001:db8:9::1", "127.0.0.1")...)
	if err != nil || !reflect.DeepEqual(direct, map[netip.Addr]string{addrs("192.0.2.7")[0]: "wan", addrs("2001:db8::7")[0]: "wan"}) {
		t.Errorf("direct: %v %v", direct, err)
	}
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// As many as can be are refused in one call, for each of the three messages, and
// every one of them is told of; the one that is right among them is reached.
func TestReachRefused(t *testing.T) {
	t.Parallel()
	h, _, _ := hosts(t)
	if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
		t.Fatal(err)
	}
	all := peers(1000)
	for i := range all {
		all[i].OnLink, all[i].MAC = false, all[i].MAC[:5] // a next hop on no link, and no MAC
	}
	good := peers(1001)[1000]
	err := h.Reach(t.Context(), append(all, good), nil)
	told := strings.Split(fmt.Sprint(err), "\n")
	if !strings.Contains(told[0], "reach 10.16.0.0/24 by flannel.7: set neighbour: ") || len(told) < len(all) {
		t.Errorf("%d refusals are told of, of %d peers: %s …", len(told), len(all), told[0])
	}
	if got := reached(t, h); !reflect.DeepEqual(got, []kernel.Reach{good}) {
		t.Errorf("reached %+v, want %+v", got, good)
	}
}
