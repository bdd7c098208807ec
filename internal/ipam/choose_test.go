package ipam

import (
	"net/netip"
	"testing"

	"github.com/catenet/catenet"
	"pgregory.net/rapid"
)

func prefixes(s ...string) (ps []netip.Prefix) {
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

func TestChoose(t *testing.T) {
	small := []catenet.AddressPool{{Base: netip.MustParsePrefix("10.0.0.0/29"), Size: 30}}
	for _, c := range []struct {
		name     string
		defaults []catenet.AddressPool
		taken    []netip.Prefix
		want     string // "" is exhausted
	}{
		{"first", DefaultPools(), nil, "172.17.0.0/16"},
		{"a network has the first", DefaultPools(), prefixes("172.17.0.0/16"), "172.18.0.0/16"},
		{"one address of the host is in it", DefaultPools(), prefixes("172.17.255.255/32"), "172.18.0.0/16"},
		{"the last /16", DefaultPools(), prefixes("172.16.0.0/13", "172.24.0.0/14", "172.28.0.0/15", "172.30.0.0/16"), "172.31.0.0/16"},
		{"all /16s gone", DefaultPools(), prefixes("172.16.0.0/12"), "192.168.0.0/20"},
		{"and a LAN", DefaultPools(), prefixes("172.16.0.0/12", "192.168.1.0/24"), "192.168.16.0/20"},
		{"all gone", DefaultPools(), prefixes("172.16.0.0/12", "192.168.0.0/16"), ""},
		{"a host prefix with host bits", DefaultPools(), []netip.Prefix{netip.MustParsePrefix("172.17.3.4/15")}, "172.18.0.0/16"},
		{"IPv6 is in nobody's way", DefaultPools(), prefixes("fd00::/8"), "172.17.0.0/16"},
		{"settable", small, prefixes("10.0.0.0/30"), "10.0.0.4/30"},
		{"settable, gone", small, prefixes("10.0.0.0/30", "10.0.0.7/32"), ""},
		{"many small ones in a large taken one", []catenet.AddressPool{{Base: netip.MustParsePrefix("10.0.0.0/8"), Size: 30}}, prefixes("10.0.0.0/9"), "10.128.0.0/30"},
	} {
		got, err := Choose(c.defaults, c.taken)
		if c.want == "" {
			if catenet.KindOf(err) != catenet.KindExhausted || catenet.HintOf(err) == "" {
				t.Errorf("%s: got %v, %v, want exhausted with a hint", c.name, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestChooseRefusesBadDefaults(t *testing.T) {
	for _, d := range []catenet.AddressPool{
		{},
		{Base: netip.MustParsePrefix("10.0.0.0/16"), Size: 8},
		{Base: netip.MustParsePrefix("10.0.0.0/16"), Size: 31},
		{Base: netip.MustParsePrefix("10.0.1.0/16"), Size: 24},
		{Base: netip.MustParsePrefix("224.0.0.0/8"), Size: 24},
		{Base: netip.MustParsePrefix("fd00::/48"), Size: 127},
	} {
		if _, err := Choose([]catenet.AddressPool{d}, nil); !catenet.IsInvalid(err) {
			t.Errorf("%v: got %v, want an invalid error", d, err)
		}
	}
}

// TestChooseIsFirstFree holds the jumping search against the plain one.
func TestChooseIsFirstFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := catenet.AddressPool{Base: netip.MustParsePrefix("10.0.0.0/20"), Size: rapid.IntRange(20, 26).Draw(t, "size")}
		var taken []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			n := number{lo: 10<<24 | uint64(rapid.IntRange(0, 0x1fff).Draw(t, "at"))}
			p, _ := n.addr(true).Prefix(rapid.IntRange(19, 32).Draw(t, "len"))
			taken = append(taken, p)
		}
		var want netip.Prefix
	candidates:
		for n := first(d.Base); !last(d.Base).less(n); n = n.plus(number{lo: 1 << (32 - d.Size)}) {
			p := netip.PrefixFrom(n.addr(true), d.Size)
			for _, x := range taken {
				if x.Overlaps(p) {
					continue candidates
				}
			}
			want = p
			break
		}
		got, err := Choose([]catenet.AddressPool{d}, taken)
		if got != want || (err != nil) == want.IsValid() {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

func TestChooseULA(t *testing.T) {
	a, err := ChooseULA("node-a", 0, nil)
	if err != nil || a.Bits() != 64 || !netip.MustParsePrefix("fd00::/8").Contains(a.Addr()) {
		t.Fatalf("got %v, %v, want a /64 of fd00::/8", a, err)
	}
	if again, _ := ChooseULA("node-a", 0, nil); again != a {
		t.Errorf("the same node got %v and %v", a, again)
	}
	next, err := ChooseULA("node-a", 0, []netip.Prefix{a})
	site := netip.PrefixFrom(a.Addr(), 48)
	if err != nil || next.Overlaps(a) || !site.Overlaps(next) {
		t.Errorf("the next one after %v is %v, %v, want another of the same /48", a, next, err)
	}
	if b, _ := ChooseULA("node-b", 0, nil); site.Overlaps(b) {
		t.Errorf("two nodes share the site prefix of %v", b)
	}
	if p, err := ChooseULA("node-a", 0, []netip.Prefix{site}); catenet.KindOf(err) != catenet.KindExhausted {
		t.Errorf("got %v, %v from a taken site, want exhausted", p, err)
	}
}

// TestChoosePair: a subnet for two, IPv6 without the interface that is all
// zeros.
func TestChoosePair(t *testing.T) {
	p, err := ChooseULA("node-a", 127, nil)
	site := netip.PrefixFrom(p.Addr(), 48).Masked()
	if err != nil || p.Bits() != 127 || p.Addr() != site.Addr().Next().Next() {
		t.Fatalf("got %v, %v, want the second /127 of %v", p, err, site)
	}
	if next, _ := ChooseULA("node-a", 127, []netip.Prefix{p}); next.Addr() != p.Addr().Next().Next() {
		t.Errorf("after %v comes %v", p, next)
	}
}
