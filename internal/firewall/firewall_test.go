package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// noNeighbours is a host without other firewalls.
type noNeighbours struct{}

func (noNeighbours) Obstacles(context.Context) ([]foreign.Obstacle, error) { return nil, nil }
func (noNeighbours) Allow(context.Context, foreign.Wanted) error           { return nil }

func inMemory(t testing.TB) (*Firewall, *nft.Memory) {
	m := nft.NewMemory()
	return New(m, noNeighbours{}, slog.New(slog.NewTextHandler(t.Output(), nil))), m
}

func dump(t testing.TB, b Backend) []nft.Table {
	t.Helper()
	tables, err := b.Dump(context.Background(), inetTable, bridgeTable)
	must(t, err)
	return tables
}

func manyPorts(n int) (ports []Port) {
	for i := range n {
		ports = append(ports, publish(catenet.TCP, fmt.Sprintf("0.0.0.0:%d", 1024+i), "172.18.0.2:80", front.ID))
	}
	return ports
}

func TestThousandPortsAreOneTransaction(t *testing.T) {
	f, m := inMemory(t)
	must(t, f.Restore(t.Context(), []Network{front}, nil))
	before := m.Commits()
	must(t, f.Apply(t.Context(), Change{AddPorts: manyPorts(1000)}))
	if n := m.Commits() - before; n != 1 {
		t.Errorf("1000 ports were %d transactions", n)
	}
	for _, again := range []Change{
		{},
		{AddPorts: manyPorts(1000)},
		{AddNetworks: []Network{front}},
		{RemovePorts: []Port{publish(catenet.TCP, "0.0.0.0:9", "172.18.0.2:80", front.ID)}},
		{RemovePorts: []Port{publish(catenet.TCP, "0.0.0.0:1024", "172.18.0.9:80", front.ID)}}, // somebody else's by now
		{RemoveNetworks: []string{"unknown"}},
	} {
		must(t, f.Apply(t.Context(), again))
	}
	must(t, f.Restore(t.Context(), []Network{front}, manyPorts(1000)))
	if n := m.Commits() - before; n != 1 {
		t.Errorf("changes that change nothing were %d transactions", n-1)
	}
}

// deaf is a kernel that tells of no change.
type deaf struct{ *nft.Memory }

func (deaf) Watch(ctx context.Context, _ []nft.Ref, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestWatchLooksUnasked: a change that the kernel did not tell of does not
// stay for good.
func TestWatchLooksUnasked(t *testing.T) {
	f, m := inMemory(t)
	must(t, f.Restore(t.Context(), []Network{front}, nil))
	want := dump(t, m)
	f.b, f.every = deaf{m}, time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Watch(ctx) }()
	m.Flush()
	for end := time.Now().Add(10 * time.Second); !cmp.Equal(want, dump(t, m)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was flushed does not come back")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

func TestFailedChangeChangesNothing(t *testing.T) {
	f, m := inMemory(t)
	ports := manyPorts(3)
	links := []Link{link(catenet.TCP, "172.19.0.2", "172.19.0.3:80"), link(catenet.TCP, "172.19.0.2", "172.19.0.3:81")}
	must(t, f.Restore(t.Context(), []Network{front, back}, ports, links[0]))
	want := dump(t, m)
	moved := front
	moved.Link = "br-other"
	c := Change{
		AddNetworks:    []Network{moved, inner},
		RemoveNetworks: []string{back.ID},
		AddPorts:       append(manyPorts(5)[3:], publish(catenet.TCP, "0.0.0.0:1025", "172.18.0.7:80", front.ID)),
		RemovePorts:    ports[:1],
		AddLinks:       links[1:],
		RemoveLinks:    links[:1],
	}
	full := errors.New("no memory")
	m.Refuse = func(op nft.Op) error {
		if op.Do == nft.AddRules {
			return full
		}
		return nil
	}
	if err := f.Apply(t.Context(), c); !errors.Is(err, full) {
		t.Errorf("Apply: %v", err)
	}
	if err := f.Restore(t.Context(), []Network{inner}, nil); !errors.Is(err, full) {
		t.Errorf("Restore: %v", err)
	}
	m.Refuse = nil
	if d := cmp.Diff(want, dump(t, m)); d != "" {
		t.Errorf("the kernel changed:\n%s", d)
	}
	if repaired, err := f.Check(t.Context()); repaired || err != nil {
		t.Errorf("what is wanted changed: %v %v", repaired, err)
	}
	must(t, f.Apply(t.Context(), c))
	if cmp.Equal(want, dump(t, m)) {
		t.Error("the change changes nothing at all")
	}
}

func TestBadChangesAreRefused(t *testing.T) {
	f, m := inMemory(t)
	for _, c := range []Change{
		{AddNetworks: []Network{{Link: "br0"}}},
		{AddNetworks: []Network{{ID: "x", Link: "a/b"}}},
		{AddNetworks: []Network{{ID: "x", Link: "br0", Subnets: make([]netip.Prefix, 1)}}},
		{AddPorts: []Port{publish("icmp", "0.0.0.0:80", "172.18.0.2:80", "")}},
		{AddNetworks: []Network{{ID: "x", Link: "br0", Trusted: []string{"a/b"}}}},
		{AddNetworks: []Network{{ID: "x", Link: "br0", V4: Gateway{Source: netip.IPv6Loopback()}}}},
		{AddPorts: []Port{publish(catenet.TCP, "0.0.0.0:80", "172.18.0.2:0", "")}},
		{AddPorts: []Port{publish(catenet.TCP, "[::]:80", "172.18.0.2:80", "")}},
		{AddPorts: []Port{publish(catenet.TCP, "0.0.0.0:80", "[fd00::1]:80", "")}},
		{AddLinks: []Link{link("icmp", "172.18.0.2", "172.18.0.3:80")}},
		{AddLinks: []Link{link(catenet.TCP, "172.18.0.2", "172.18.0.3:0")}},
		{AddLinks: []Link{link(catenet.TCP, "fd00::2", "172.18.0.3:80")}},
		{AddLinks: []Link{{Proto: catenet.TCP, To: netip.MustParseAddrPort("172.18.0.2:80")}}},
		{AddPorts: []Port{{Proto: catenet.TCP, HostPort: 80, To: netip.MustParseAddrPort("172.18.0.2:80")}}},
	} {
		if err := f.Apply(t.Context(), c); !catenet.IsInvalid(err) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if m.Commits() != 0 {
		t.Error("a refused change reached the kernel")
	}
}

// TestTamperedKernelIsRestoredByApply: a change finds the tables gone.
func TestTamperedKernelIsRestoredByApply(t *testing.T) {
	f, m := inMemory(t)
	must(t, f.Restore(t.Context(), []Network{front}, manyPorts(2)))
	m.Flush()
	must(t, f.Apply(t.Context(), Change{AddPorts: manyPorts(3)}))
	if d := nft.Diff(dump(t, m), f.want.tables(m.Caps())); len(d) > 0 || len(f.want.ports) != 3 {
		t.Errorf("still to do: %v", d)
	}
}

func TestWatchRepairsInMemory(t *testing.T) {
	f, m := inMemory(t)
	must(t, f.Restore(t.Context(), []Network{front}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Watch(ctx) }()
	m.Flush()
	for start := time.Now(); len(dump(t, m)) != 2; time.Sleep(time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("not repaired")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestNoBridgeFamily(t *testing.T) {
	m := nft.NewMemory()
	m.Has = nft.Caps{}
	f := New(m, noNeighbours{}, slog.New(slog.DiscardHandler))
	must(t, f.Restore(t.Context(), nil, nil))
	if tables := dump(t, m); len(tables) != 1 || tables[0].Flags != 0 {
		t.Errorf("tables of a poor kernel: %+v", tables)
	}
}

func TestIntervals(t *testing.T) {
	for prefix, want := range map[string][]string{
		"172.18.0.0/16":      {"172.18.0.0", "172.19.0.0"},
		"172.18.0.4/31":      {"172.18.0.4", "172.18.0.6"},
		"10.0.0.7/8":         {"10.0.0.0", "11.0.0.0"},
		"255.255.255.0/24":   {"255.255.255.0"},
		"10.255.255.255/32":  {"10.255.255.255", "11.0.0.0"},
		"fd00:18::/64":       {"fd00:18::", "fd00:18:0:1::"},
		"ffff:ffff::/32":     {"ffff:ffff::"},
		"fd00:0:0:ffff::/64": {"fd00:0:0:ffff::", "fd00:0:1::"},
	} {
		var got []string
		for i, e := range interval("s", netip.MustParsePrefix(prefix), nft.Verdict{}) {
			a, _ := netip.AddrFromSlice([]byte(e.Key))
			got = append(got, a.String())
			if e.End != (i == 1) {
				t.Errorf("%s: bound %d: end is %v", prefix, i, e.End)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", prefix, got, want)
		}
	}
}

// genChange draws changes from so few networks, ports and properties that
// they often meet.
func genChange(t *rapid.T) Change {
	gateway := rapid.Custom(func(t *rapid.T) Gateway {
		return Gateway{
			Mode:       rapid.SampledFrom([]catenet.GatewayMode{"", catenet.GatewayUnprotected, catenet.GatewayRouted, catenet.GatewayIsolated}).Draw(t, "mode"),
			Masquerade: rapid.Bool().Draw(t, "masquerade"),
			Source:     rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("192.0.2.9")}).Draw(t, "source"),
		}
	})
	network := rapid.Custom(func(t *rapid.T) Network {
		i := rapid.IntRange(0, 3).Draw(t, "network")
		return Network{
			ID: fmt.Sprintf("n%d", i), Link: fmt.Sprintf("br-%d", i+10*rapid.IntRange(0, 1).Draw(t, "link")),
			Subnets:  prefixes(fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("fd00:%d::/64", i))[:rapid.IntRange(0, 2).Draw(t, "subnets")],
			Internal: rapid.Bool().Draw(t, "internal"),
			NoICC:    rapid.Bool().Draw(t, "noicc"),
			V4:       gateway.Draw(t, "v4"), V6: Gateway{Mode: gateway.Draw(t, "v6").Mode},
			Trusted: []string{"up0", "up1", "up0"}[:rapid.IntRange(0, 3).Draw(t, "trusted")],
		}
	})
	port := rapid.Custom(func(t *rapid.T) Port {
		host := rapid.SampledFrom([]string{"0.0.0.0", "127.0.0.1", "127.0.0.2", "192.0.2.1", "::", "::1"}).Draw(t, "host")
		to := "10.0.0.2"
		if netip.MustParseAddr(host).Is6() {
			to = "fd00::2"
		}
		return Port{
			Proto:  rapid.SampledFrom([]catenet.Proto{catenet.TCP, catenet.UDP}).Draw(t, "proto"),
			HostIP: netip.MustParseAddr(host), HostPort: rapid.SampledFrom([]uint16{0, 80, 81, 82}).Draw(t, "port"),
			To: netip.AddrPortFrom(netip.MustParseAddr(to), rapid.Uint16Range(80, 81).Draw(t, "to")),
		}
	})
	tie := rapid.Custom(func(t *rapid.T) Link {
		to := rapid.SampledFrom([]string{"10.0.0.2:80", "10.0.0.2:81", "[fd00::2]:80"}).Draw(t, "linked")
		from := rapid.SampledFrom([]string{"10.0.0.3", "10.0.0.4"}).Draw(t, "linking")
		if to[0] == '[' {
			from = "fd00::3"
		}
		return link(catenet.TCP, from, to)
	})
	return Change{
		AddLinks:       rapid.SliceOfN(tie, 0, 3).Draw(t, "add links"),
		RemoveLinks:    rapid.SliceOfN(tie, 0, 3).Draw(t, "remove links"),
		AddNetworks:    rapid.SliceOfN(network, 0, 2).Draw(t, "add networks"),
		RemoveNetworks: rapid.SliceOfN(rapid.SampledFrom([]string{"n0", "n1", "n2", "n3"}), 0, 2).Draw(t, "remove networks"),
		AddPorts:       rapid.SliceOfN(port, 0, 4).Draw(t, "add ports"),
		RemovePorts:    rapid.SliceOfN(port, 0, 4).Draw(t, "remove ports"),
	}
}

// TestChangesEqualRestore: however the wanted state came about, the kernel
// is as if it had been restored at once. In memory thousands of changes, on
// the real kernel a few hundred.
func TestChangesEqualRestore(t *testing.T) {
	t.Run("memory", rapid.MakeCheck(func(rt *rapid.T) {
		checkChanges(rt, t, nft.NewMemory(), nft.NewMemory())
	}))
	t.Run("kernel", func(t *testing.T) {
		t.Parallel()
		one, two := kerneltest.New(t), kerneltest.New(t)
		conn := func(ns *kerneltest.NS) (c *nft.Conn) {
			ns.MustDo(func() (err error) { c, err = nft.Open(nft.Options{}); return err })
			t.Cleanup(func() { c.Close() })
			return c
		}
		a, b := conn(one), conn(two)
		rapid.MakeCheck(func(rt *rapid.T) { checkChanges(rt, t, a, b) })(t)
	})
}

// failing fails a test with whatever is written to it.
type failing struct{ t *rapid.T }

func (f failing) Write(b []byte) (int, error) {
	f.t.Errorf("logged: %s", b)
	return len(b), nil
}

func checkChanges(rt *rapid.T, t *testing.T, a, b Backend) {
	ctx := t.Context()
	// A warning says that a change alone would not do.
	log := slog.New(slog.NewTextHandler(failing{rt}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	f, g := New(a, noNeighbours{}, log), New(b, noNeighbours{}, log)
	ok := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	ok(f.Restore(ctx, nil, nil))
	for range rapid.IntRange(1, 6).Draw(rt, "changes") {
		ok(f.Apply(ctx, genChange(rt)))
	}
	var networks []Network
	for _, n := range f.want.networks {
		networks = append(networks, n)
	}
	var ports []Port
	for _, p := range f.want.ports {
		ports = append(ports, p)
	}
	ok(g.Remove(ctx))
	ok(g.Restore(ctx, networks, ports, slices.Collect(maps.Keys(f.want.links))...))
	have, err := a.Dump(ctx, inetTable, bridgeTable)
	ok(err)
	want, err := b.Dump(ctx, inetTable, bridgeTable)
	ok(err)
	if d := nft.Diff(have, want); len(d) > 0 {
		rt.Fatalf("the kernel is not as restored: %v", d)
	}
	if repaired, err := f.Check(ctx); repaired || err != nil {
		rt.Fatalf("Check repaired %v: %v", repaired, err)
	}
}
