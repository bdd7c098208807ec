package ipam

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/google/go-cmp/cmp"
)

var byValue = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
var addrByValue = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// pool reads a pool from words: "10.1.0.0/16 range=… gateway=… name=address".
func pool(t *testing.T, s string) (p catenet.Pool) {
	t.Helper()
	for i, f := range strings.Fields(s) {
		k, v, _ := strings.Cut(f, "=")
		var err error
		switch {
		case i == 0 && v == "":
			p.Subnet, err = netip.ParsePrefix(k)
		case k == "range":
			p.Range, err = netip.ParsePrefix(v)
		case k == "gateway":
			p.Gateway, err = netip.ParseAddr(v)
		case k == "aside":
			var r catenet.Range
			r, err = catenet.ParseRange(v)
			p.SetAside = append(p.SetAside, r)
		default:
			if p.Aux == nil {
				p.Aux = make(map[string]netip.Addr)
			}
			p.Aux[k], err = netip.ParseAddr(v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func pools(t *testing.T, ss ...string) (ps []catenet.Pool) {
	for _, s := range ss {
		ps = append(ps, pool(t, s))
	}
	return ps
}

func around(t *testing.T) Surroundings {
	front := catenet.Network{}
	front.Name, front.Pools = "front", pools(t, "10.9.0.0/16 gateway=10.9.0.1", "fd09::/64 gateway=fd09::1")
	return Surroundings{Networks: []catenet.Network{front}, Host: prefixes("172.17.0.0/16", "192.0.2.0/24", "192.0.2.77/24", "198.51.100.1/24"), Seed: "n"}
}

func TestComplete(t *testing.T) {
	ula, err := ChooseULA("n", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ulaPool := ula.String() + " gateway=" + ula.Addr().Next().String()
	for _, c := range []struct {
		name string
		spec catenet.NetworkSpec
		want []string
	}{
		{"nothing asked", catenet.NetworkSpec{}, []string{"172.18.0.0/16 gateway=172.18.0.1"}},
		{"both chosen", catenet.NetworkSpec{IPv6: true}, []string{"172.18.0.0/16 gateway=172.18.0.1", ulaPool}},
		{"only IPv6", catenet.NetworkSpec{IPv6: true, DisableIPv4: true}, []string{ulaPool}},
		{"IPv6 asked, IPv4 chosen", catenet.NetworkSpec{IPv6: true, Pools: pools(t, "fd01::/64")},
			[]string{"172.18.0.0/16 gateway=172.18.0.1", "fd01::/64 gateway=fd01::1"}},
		{"both asked, IPv6 first", catenet.NetworkSpec{IPv6: true, Pools: pools(t, "fd01::/64 gateway=fd01::ffff", "10.1.0.0/24")},
			[]string{"10.1.0.0/24 gateway=10.1.0.1", "fd01::/64 gateway=fd01::ffff"}},
		{"auxiliary address where the gateway would be", catenet.NetworkSpec{Pools: pools(t, "10.1.0.0/24 router=10.1.0.1")},
			[]string{"10.1.0.0/24 gateway=10.1.0.2 router=10.1.0.1"}},
		{"the gateway is outside the range", catenet.NetworkSpec{Pools: pools(t, "10.1.0.0/16 range=10.1.5.0/24")},
			[]string{"10.1.0.0/16 range=10.1.5.0/24 gateway=10.1.0.1"}},
		{"a range that is the subnet", catenet.NetworkSpec{Pools: pools(t, "10.1.0.0/16 range=10.1.0.0/16")},
			[]string{"10.1.0.0/16 range=10.1.0.0/16 gateway=10.1.0.1"}},
		{"over a route of the host, as asked", catenet.NetworkSpec{Pools: pools(t, "192.0.2.0/25")},
			[]string{"192.0.2.0/25 gateway=192.0.2.1"}},
		{"two of a family, in their order", catenet.NetworkSpec{IPv6: true, Pools: pools(t, "fd02::/64", "10.2.0.0/24", "10.1.0.0/24", "fd01::/64")},
			[]string{"10.2.0.0/24 gateway=10.2.0.1", "10.1.0.0/24 gateway=10.1.0.1", "fd02::/64 gateway=fd02::1", "fd01::/64 gateway=fd01::1"}},
		{"isolated, of which one asked for a gateway", catenet.NetworkSpec{IPv6: true, Pools: pools(t, "10.1.0.0/24", "fd01::/64 gateway=fd01::ff"),
			Options: map[string]string{catenet.OptionGatewayMode4: "isolated", catenet.OptionGatewayMode6: "isolated"}},
			[]string{"10.1.0.0/24", "fd01::/64 gateway=fd01::ff"}},
		{"the smallest", catenet.NetworkSpec{Pools: pools(t, "10.1.0.0/30")},
			[]string{"10.1.0.0/30 gateway=10.1.0.1"}},
	} {
		got, err := Complete(c.spec, around(t))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(pools(t, c.want...), got, byValue, addrByValue); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestCompleteRefuses(t *testing.T) {
	for _, c := range []struct {
		pools string // several are separated by ';'
		says  string
		kind  catenet.Kind
	}{
		{"10.9.3.0/24", `overlaps 10.9.0.0/16 of network "front"`, catenet.KindConflict},
		{"10.0.0.0/8", `of network "front"`, catenet.KindConflict},
		{"fd09::/48", `overlaps fd09::/64 of network "front"`, catenet.KindConflict},
		{"192.0.2.0/24 gateway=192.0.2.77", "192.0.2.77 is an address of the host", catenet.KindConflict},
		{"198.51.100.0/24", "198.51.100.1 is an address of the host", catenet.KindConflict},
		{"10.1.2.3/16", "bits set beyond its length|it should be 10.1.0.0/16", 0},
		{"10.1.0.0/31", "too small|/30", 0},
		{"10.1.0.0/32", "too small", 0},
		{"fd01::/127", "too small|/126", 0},
		{"224.1.0.0/16", "multicast", 0},
		{"127.1.0.0/16", "loopback", 0},
		{"169.254.7.0/24", "link-local", 0},
		{"0.0.0.0/0", "unspecified", 0},
		{"0.0.0.0/24", "unspecified", 0},
		{"255.255.255.0/24", "broadcast", 0},
		{"::/64", "unspecified", 0},
		{"fe80::/64", "link-local", 0},
		{"ff02::/64", "multicast", 0},
		{"::ffff:10.1.0.0/112", "IPv4 written as IPv6|10.1.0.0/16", 0},
		{"::fffe:0:0/95", "IPv4-mapped", 0},
		{"10.1.0.0/24 aside=10.1.0.9-10.1.1.9", "is not inside", 0},
		{"10.1.0.0/24 aside=fd01::1", "is not inside", 0},
		{"10.1.0.0/24 aside=10.1.0.9-10.1.0.20 aside=10.1.0.20", "overlap", 0},
		{"10.1.0.0/24 range=10.2.0.0/25", "range 10.2.0.0/25 is not inside", 0},
		{"10.1.0.0/24 range=10.1.0.0/16", "is not inside", 0},
		{"10.1.0.0/24 range=10.1.0.5/25", "beyond its length|it should be 10.1.0.0/25", 0},
		{"10.1.0.0/24 range=fd01::/64", "is not inside", 0},
		{"10.1.0.0/24 gateway=10.2.0.1", "gateway 10.2.0.1 is not in the subnet", 0},
		{"10.1.0.0/24 gateway=fd01::1", "is not in the subnet", 0},
		{"10.1.0.0/24 gateway=::ffff:10.1.0.1", "is not in the subnet", 0},
		{"10.1.0.0/24 gateway=10.1.0.0", "address of the subnet itself", 0},
		{"10.1.0.0/24 gateway=10.1.0.255", "broadcast address", 0},
		{"fd01::/64 gateway=fd01::", "anycast", 0},
		{"10.1.0.0/24 x=10.2.0.1", `auxiliary address "x" 10.2.0.1 is not in`, 0},
		{"10.1.0.0/24 x=10.1.0.9 y=10.1.0.9", `"y" is 10.1.0.9, which is the auxiliary address "x"`, 0},
		{"10.1.0.0/24 gateway=10.1.0.9 x=10.1.0.9", "which is the gateway", 0},
		{"10.1.0.0/30 x=10.1.0.1 y=10.1.0.2", "no address left", catenet.KindExhausted},
		{"10.1.0.0/24;10.1.0.128/25", "10.1.0.0/24 and 10.1.0.128/25 overlap", 0},
		{"fd01::/64;10.1.0.0/24;fd01::/48", "fd01::/64 and fd01::/48 overlap", 0},
		{"gateway=10.1.0.1", "a pool has no subnet|--subnet", 0},
	} {
		if c.kind == 0 {
			c.kind = catenet.KindInvalid
		}
		spec := catenet.NetworkSpec{IPv6: true, Pools: pools(t, strings.Split(c.pools, ";")...)}
		got, err := Complete(spec, around(t))
		if err == nil || catenet.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, %v, want a %v error", c.pools, got, err, c.kind)
			continue
		}
		for _, want := range strings.Split(c.says, "|") {
			if said := err.Error() + "\n" + catenet.HintOf(err); !strings.Contains(said, want) {
				t.Errorf("%s: the error is %q, want %q in it", c.pools, said, want)
			}
		}
	}
}

func TestCompleteRefusesFamilies(t *testing.T) {
	for _, spec := range []catenet.NetworkSpec{
		{DisableIPv4: true},
		{DisableIPv4: true, IPv6: true, Pools: pools(t, "10.1.0.0/24")},
		{Pools: pools(t, "fd01::/64")},
	} {
		if got, err := Complete(spec, Surroundings{}); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%+v: got %v, %v, want an invalid error with a hint", spec, got, err)
		}
	}
}

// TestCompleteFromDefaults: each family comes from the default pools that are
// its own, and from where it comes unasked if there are none.
func TestCompleteFromDefaults(t *testing.T) {
	ula, err := ChooseULA("n", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	four, six := catenet.AddressPool{Base: netip.MustParsePrefix("10.8.0.0/15"), Size: 16}, catenet.AddressPool{Base: netip.MustParsePrefix("fd09::/48"), Size: 64}
	for _, c := range []struct {
		defaults []catenet.AddressPool
		bits6    int
		want     []string
	}{
		{[]catenet.AddressPool{six, four}, 0, []string{"10.8.0.0/16", "fd09:0:0:1::/64"}},
		{[]catenet.AddressPool{six}, 0, []string{"172.18.0.0/16", "fd09:0:0:1::/64"}},
		{[]catenet.AddressPool{four}, 0, []string{"10.8.0.0/16", ula.String()}},
		{[]catenet.AddressPool{{Base: netip.MustParsePrefix("fd10::/48"), Size: 64}}, 127, []string{"172.18.0.0/16", "fd10::2/127"}},
	} {
		here := around(t)
		here.Apart, here.Defaults, here.Bits6 = true, c.defaults, c.bits6
		got, err := Complete(catenet.NetworkSpec{IPv6: true}, here)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pools(t, c.want...), got, byValue, addrByValue); diff != "" {
			t.Errorf("%v:\n%s", c.defaults, diff)
		}
	}
	full := around(t)
	full.Defaults = []catenet.AddressPool{{Base: netip.MustParsePrefix("fd09::/64"), Size: 64}}
	if _, err := Complete(catenet.NetworkSpec{IPv6: true}, full); catenet.KindOf(err) != catenet.KindExhausted {
		t.Errorf("IPv6 pools with nothing left: %v", err)
	}
}

// TestCompleteApart: the host is not in the network.
func TestCompleteApart(t *testing.T) {
	apart := around(t)
	apart.Apart, apart.Bits4, apart.Bits6 = true, 30, 127
	ula, err := ChooseULA("n", 127, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked, want []string
	}{
		{nil, []string{"192.168.0.0/30", ula.String()}},
		{[]string{"10.1.0.0/31"}, []string{"10.1.0.0/31", ula.String()}},
		{[]string{"198.51.100.0/24", "fd01::/127"}, []string{"198.51.100.0/24", "fd01::/127"}},
	} {
		got, err := Complete(catenet.NetworkSpec{IPv6: true, Pools: pools(t, c.asked...)}, apart)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pools(t, c.want...), got, byValue, addrByValue); diff != "" {
			t.Errorf("%v:\n%s", c.asked, diff)
		}
	}
}
