package ipam

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"pgregory.net/rapid"
)

func newPool(t testing.TB, p catenet.Pool) *Pool {
	t.Helper()
	pool, err := NewPool(p)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func request(t *testing.T, p *Pool, owner string) string {
	t.Helper()
	a, err := p.Request(owner, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	return a.String()
}

func TestPoolRisesAndComesBackLate(t *testing.T) {
	p := newPool(t, pool(t, "10.1.0.0/29 gateway=10.1.0.1 x=10.1.0.3"))
	var got []string
	for i := range 2 {
		got = append(got, request(t, p, fmt.Sprint("c", i)))
	}
	if err := p.Release("c0", netip.MustParseAddr("10.1.0.2")); err != nil {
		t.Fatal(err)
	}
	got = append(got, request(t, p, "c2"), request(t, p, "c3"), request(t, p, "c4"))
	if want := "[10.1.0.2 10.1.0.4 10.1.0.5 10.1.0.6 10.1.0.2]"; fmt.Sprint(got) != want {
		t.Errorf("handed out %v, want %v", got, want)
	}
	_, err := p.Request("c5", netip.Addr{})
	if catenet.KindOf(err) != catenet.KindExhausted || !strings.Contains(err.Error(), "6 used, 0 free") || catenet.HintOf(err) == "" {
		t.Errorf("a full pool says %v", err)
	}
	var owners []string
	for a, o := range p.Owners() {
		owners = append(owners, fmt.Sprintf("%s=%s", a, o))
	}
	if want := "[10.1.0.1=gateway 10.1.0.2=c4 10.1.0.3=aux:x 10.1.0.4=c1 10.1.0.5=c2 10.1.0.6=c3]"; fmt.Sprint(owners) != want {
		t.Errorf("the owners are %v, want %v", owners, want)
	}
}

func TestPoolFixedAddresses(t *testing.T) {
	p := newPool(t, pool(t, "10.1.0.0/16 range=10.1.5.0/24 gateway=10.1.0.1"))
	outside := netip.MustParseAddr("10.1.9.9")
	if _, err := p.Request("a", outside); err != nil {
		t.Fatalf("an address outside the range and inside the subnet: %v", err)
	}
	if u := p.Use(); u.Used != 2 || u.Free != 256 {
		t.Errorf("use is %+v, want 2 used, 256 free", u)
	}
	for _, c := range []struct {
		want string
		kind catenet.Kind
		says string
	}{
		{"10.1.9.9", catenet.KindConflict, "taken by a"},
		{"10.1.0.1", catenet.KindConflict, "taken by gateway"},
		{"10.1.0.0", catenet.KindInvalid, "subnet itself"},
		{"10.1.255.255", catenet.KindInvalid, "broadcast"},
		{"10.2.0.1", catenet.KindInvalid, "not in the subnet 10.1.0.0/16"},
		{"fd01::1", catenet.KindInvalid, "not in the subnet"},
	} {
		_, err := p.Request("b", netip.MustParseAddr(c.want))
		if catenet.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want a %v error with %q", c.want, err, c.kind, c.says)
		}
	}
	if _, err := p.Request("", netip.Addr{}); !catenet.IsInvalid(err) {
		t.Errorf("a request without an owner: %v", err)
	}
	if err := p.Restore("a", outside); err != nil {
		t.Errorf("restoring what is there: %v", err)
	}
	if err := p.Restore("b", outside); !catenet.IsConflict(err) {
		t.Errorf("restoring another's: %v", err)
	}
	if err := p.Release("b", outside); !catenet.IsConflict(err) {
		t.Errorf("releasing another's: %v", err)
	}
	if err := p.Release("a", outside); err != nil {
		t.Error(err)
	}
	if err := p.Release("a", outside); !catenet.IsNotFound(err) {
		t.Errorf("releasing twice: %v", err)
	}
	if err := p.Release("", netip.MustParseAddr("10.1.0.0")); !catenet.IsNotFound(err) {
		t.Errorf("releasing the network address: %v", err)
	}
}

func TestPoolCursor(t *testing.T) {
	spec := pool(t, "10.1.0.0/24 range=10.1.0.128/25 gateway=10.1.0.1")
	p := newPool(t, spec)
	request(t, p, "a")
	again := newPool(t, spec)
	again.SetCursor(p.Cursor())
	if got := request(t, again, "b"); got != "10.1.0.129" {
		t.Errorf("after a restart the next address is %s, want 10.1.0.129", got)
	}
	again.SetCursor(netip.MustParseAddr("10.1.0.5"))
	if got := request(t, again, "c"); got != "10.1.0.130" {
		t.Errorf("after a cursor outside the range the next address is %s, want 10.1.0.130", got)
	}
}

func TestPoolCountsOfLargePools(t *testing.T) {
	for _, c := range []struct {
		pool       string
		used, free uint64
		next       string
	}{
		{"10.0.0.0/8 gateway=10.0.0.1", 1, 1<<24 - 3, "10.0.0.2"},
		{"fd01::/64 gateway=fd01::1", 1, math.MaxUint64 - 1, "fd01::2"},
		{"fd01::/48 range=fd01:0:0:7::/64 gateway=fd01::1", 1, math.MaxUint64, "fd01:0:0:7::"},
		{"fd00::/8 gateway=fd00::1", 1, math.MaxUint64, "fd00::2"},
		{"fd01::/64 gateway=fd01::1 x=fd01::2", 2, math.MaxUint64 - 2, "fd01::3"},
		{"fd01::/126 gateway=fd01::1", 1, 2, "fd01::2"},
		{"10.0.0.0/8 gateway=10.0.0.1 aside=10.0.0.0-10.127.255.255", 1, 1<<23 - 1, "10.128.0.0"},
		{"fd01::/64 gateway=fd01::1 aside=fd01::/65", 1, 1 << 63, "fd01::8000:0:0:0"},
		{"fd01::/48 gateway=fd01::1 aside=fd01::-fd01:0:0:ffff:ffff:ffff:ffff:fff0", 1, 15, "fd01::ffff:ffff:ffff:ffff:fff1"},
		{"fd01::/48 gateway=fd01::1 aside=fd01::/64", 1, math.MaxUint64, "fd01:0:0:1::"},
	} {
		p := newPool(t, pool(t, c.pool))
		if u := p.Use(); u.Used != c.used || u.Free != c.free {
			t.Errorf("%s: use is %+v, want %d used, %d free", c.pool, u, c.used, c.free)
		}
		if got := request(t, p, "a"); got != c.next {
			t.Errorf("%s: the next address is %s, want %s", c.pool, got, c.next)
		}
	}
}

// TestPoolMemory holds a /8 and a /64 to what they use.
func TestPoolMemory(t *testing.T) {
	for _, s := range []string{"10.0.0.0/8 gateway=10.0.0.1", "fd01::/64 gateway=fd01::1"} {
		spec := pool(t, s)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p := newPool(t, spec)
		for i := range 100 {
			request(t, p, fmt.Sprint(i))
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
			t.Errorf("%s with 100 addresses took %d bytes", s, got)
		}
	}
}

// TestPoolAgainstModel runs random operations on a pool and on a plain map.
func TestPoolAgainstModel(t *testing.T) {
	specs := pools(t,
		"10.1.0.0/28 gateway=10.1.0.1",
		"10.1.0.0/24 range=10.1.0.96/27 gateway=10.1.0.100 x=10.1.0.127",
		"10.1.0.0/24 range=10.1.0.7/32 gateway=10.1.0.1",
		"10.1.0.0/25 range=10.1.0.64/26 gateway=10.1.0.65 x=10.1.0.3",
		"10.1.0.0/26 gateway=10.1.0.1 aside=10.1.0.0-10.1.0.9 aside=10.1.0.20 aside=10.1.0.40-10.1.0.63",
		"10.1.0.0/24 range=10.1.0.96/27 gateway=10.1.0.100 aside=10.1.0.90-10.1.0.101 aside=10.1.0.126-10.1.0.130",
		"fd01::/121 gateway=fd01::1",
		"fd01::/64 range=fd01::1:ff80/121 gateway=fd01::1:ff80")
	rapid.Check(t, func(t *rapid.T) {
		spec := rapid.SampledFrom(specs).Draw(t, "pool")
		p, err := NewPool(spec)
		if err != nil {
			t.Fatal(err)
		}
		m := newModel(spec)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			m.step(t, p)
			m.check(t, p)
		}
	})
}

// model is a pool as a plain map and a walk over every address.
type model struct {
	spec   catenet.Pool
	rng    netip.Prefix
	owners map[netip.Addr]string
	last   netip.Addr // handed out last
}

func newModel(spec catenet.Pool) *model {
	m := &model{spec: spec, rng: spec.Range, owners: map[netip.Addr]string{spec.Gateway: OwnerGateway}}
	if !m.rng.IsValid() {
		m.rng = spec.Subnet
	}
	for name, a := range spec.Aux {
		m.owners[a] = ownerAux + name
	}
	return m
}

func (m *model) usable(a netip.Addr) bool {
	broadcast := a.Is4() && !m.spec.Subnet.Contains(a.Next())
	return m.spec.Subnet.Contains(a) && a != m.spec.Subnet.Addr() && !broadcast
}

// free lists what can be handed out unasked, in the order it must come.
func (m *model) free() []netip.Addr {
	var late, soon []netip.Addr
	for a := m.rng.Addr(); m.rng.Contains(a); a = a.Next() {
		switch _, taken := m.owners[a]; {
		case taken || !m.usable(a) || slices.ContainsFunc(m.spec.SetAside, func(r catenet.Range) bool { return r.Contains(a) }):
		case m.last.IsValid() && !m.last.Less(a):
			late = append(late, a)
		default:
			soon = append(soon, a)
		}
	}
	return append(soon, late...)
}

func (m *model) step(t *rapid.T, p *Pool) {
	owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
	near := rapid.IntRange(0, 130).Draw(t, "at")
	base := rapid.SampledFrom([]netip.Addr{m.rng.Addr(), m.spec.Subnet.Addr()}).Draw(t, "base")
	a := toNumber(base).plus(number{lo: uint64(near)}).addr(base.Is4())
	by, taken := m.owners[a]
	switch rapid.SampledFrom([]string{"next", "next", "want", "restore", "release", "release", "set aside"}).Draw(t, "op") {
	case "next":
		free := m.free()
		got, err := p.Request(owner, netip.Addr{})
		if len(free) == 0 {
			if catenet.KindOf(err) != catenet.KindExhausted {
				t.Fatalf("a full pool gave %v, %v", got, err)
			}
			return
		}
		if err != nil || got != free[0] {
			t.Fatalf("next is %v, %v, want %v", got, err, free[0])
		}
		m.owners[got], m.last = owner, got
	case "want":
		_, err := p.Request(owner, a)
		if ok := m.usable(a) && !taken; ok != (err == nil) {
			t.Fatalf("request %v: %v, taken by %q", a, err, by)
		} else if ok {
			m.owners[a] = owner
		}
	case "restore":
		err := p.Restore(owner, a)
		if ok := m.usable(a) && (!taken || by == owner); ok != (err == nil) {
			t.Fatalf("restore %v for %s: %v, taken by %q", a, owner, err, by)
		} else if ok {
			m.owners[a] = owner
		}
	case "set aside":
		m.spec.SetAside = nil
		if rapid.Bool().Draw(t, "any") && m.spec.Subnet.Contains(a) {
			m.spec.SetAside = []catenet.Range{{First: a, Last: a.Next().Next()}}
		}
		p.SetAside(m.spec.SetAside)
	case "release":
		err := p.Release(owner, a)
		if ok := taken && by == owner; ok != (err == nil) {
			t.Fatalf("release %v by %s: %v, taken by %q", a, owner, err, by)
		} else if ok {
			delete(m.owners, a)
		}
	}
}

func (m *model) check(t *rapid.T, p *Pool) {
	n, prev := 0, netip.Addr{}
	for a, owner := range p.Owners() {
		if m.owners[a] != owner || prev.IsValid() && !prev.Less(a) {
			t.Fatalf("%v after %v is %q's, want %q's", a, prev, owner, m.owners[a])
		}
		n, prev = n+1, a
	}
	u := p.Use()
	if n != len(m.owners) || u.Used != uint64(n) || u.Free != uint64(len(m.free())) {
		t.Fatalf("%d owners, use %+v, want %d used and %d free", n, u, len(m.owners), len(m.free()))
	}
}

func BenchmarkFill16(b *testing.B) {
	spec := catenet.Pool{Subnet: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.1")}
	for b.Loop() {
		p := newPool(b, spec)
		for range 1<<16 - 3 {
			if _, err := p.Request("owner", netip.Addr{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkOneFree takes the only free address of a /16 again and again: the
// longest search there is.
func BenchmarkOneFree(b *testing.B) {
	p := newPool(b, catenet.Pool{Subnet: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.1")})
	for range 1<<16 - 3 {
		if _, err := p.Request("owner", netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := p.Release("owner", netip.MustParseAddr("10.1.77.7")); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Request("owner", netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmpty(b *testing.B) {
	for _, s := range []string{"10.0.0.0/8", "fd01::/64"} {
		spec := catenet.Pool{Subnet: netip.MustParsePrefix(s)}
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newPool(b, spec)
			}
		})
	}
}

// TestPair: both addresses of a subnet of two are handed out.
func TestPair(t *testing.T) {
	for _, subnet := range []string{"10.1.0.0/31", "fd01::2/127"} {
		p, err := NewPool(pool(t, subnet))
		if err != nil {
			t.Fatal(err)
		}
		if u := p.Use(); u.Used != 0 || u.Free != 2 {
			t.Errorf("%s: %+v", subnet, u)
		}
		lo, err1 := p.Request("a", netip.Addr{})
		hi, err2 := p.Request("b", netip.Addr{})
		if err1 != nil || err2 != nil || lo != p.subnet.Addr() || hi != lo.Next() {
			t.Errorf("%s: %v, %v, %v, %v", subnet, lo, err1, hi, err2)
		}
		if a, err := p.Request("c", netip.Addr{}); catenet.KindOf(err) != catenet.KindExhausted {
			t.Errorf("%s: a third is %v, %v", subnet, a, err)
		}
	}
}
