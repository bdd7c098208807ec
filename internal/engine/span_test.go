package engine

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// far is a driver of networks of several hosts: those of bridge, with parts that
// the test gives.
type far struct {
	driver.Driver
	mu    sync.Mutex
	part  catenet.Part
	joins int             // how often a part was taken
	taken map[string]bool // by which networks they are
	away  error           // what whoever gives parts says to all; nil: he is there
	lose  error           // what he says to the next, who has a part all the same
	left  int             // how often one was to be given back
	site  *driver.Site
	fails chan error // each ends a Run
}

func newFar(subnet string) *far {
	return &far{Driver: bridge.New(), fails: make(chan error), taken: map[string]bool{}, part: catenet.Part{
		Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}, Span: []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}, MTU: 1450}}
}

func (*far) Name() string { return "far" }

func (f *far) Up(ctx context.Context, h kernel.Host, n catenet.Network) (driver.State, error) {
	s, err := f.Driver.Up(ctx, h, n)
	if n.Part == nil {
		return s, errors.Join(err, errors.New("up without a part"))
	}
	s.Firewall[0].Span, s.Firewall[0].By = n.Part.Span, []string{"eth0"}
	return s, err
}

func (f *far) Join(_ context.Context, _ kernel.Host, n catenet.Network, ahead func([]netip.Prefix) error) (catenet.Part, error) {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away != nil {
		return catenet.Part{}, away
	}
	if err := ahead(f.part.Span); err != nil {
		return catenet.Part{}, err
	}
	for range 10000 { // others have the word meanwhile
		runtime.Gosched()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joins++
	f.taken[n.ID] = true
	lose := f.lose
	f.lose = nil
	return f.part, lose
}

func (f *far) Run(ctx context.Context, s driver.Site) error {
	f.mu.Lock()
	f.site = &s
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil
	case err := <-f.fails:
		return err
	}
}

func (f *far) Leave(_ context.Context, n catenet.Network) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left++
	if f.away == nil {
		delete(f.taken, n.ID)
	}
	return f.away
}

// is has the giver of parts away, or there again.
func (f *far) is(away error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// parts are how many are taken.
func (f *far) parts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.taken)
}

// forget has running wait for the next one.
func (f *far) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.site = nil
}

// running waits until the driver keeps the network.
func (f *far) running(t *testing.T) (s driver.Site) {
	t.Helper()
	eventually(t, "the driver runs", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.site == nil {
			return false
		}
		s = *f.site
		return true
	})
	return s
}

func farWorld(t *testing.T) (*world, *far) {
	t.Helper()
	w, f := newWorld(t), newFar("10.5.3.0/24")
	w.drivers = []driver.Driver{f}
	w.restart()
	return w, f
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func status(t *testing.T, w *world, name string) catenet.NetworkStatus {
	t.Helper()
	st, err := w.Network(ctx, name)
	must(t, err)
	return st
}

// A network of several hosts has its part's subnets; who is where is remembered
// over the daemon's end, and its part given back with the network.
func TestSpan(t *testing.T) {
	w, f := farWorld(t)
	n := w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	if len(n.Pools) != 1 || n.Pools[0].Subnet != f.part.Subnets[0] || n.Pools[0].Gateway != addr("10.5.3.1") {
		t.Fatalf("pools %+v", n.Pools)
	}
	if ep := w.mustAttach("x", catenet.EndpointSpec{Network: "wide"}).Endpoints[0]; ep.IPv4 != prefix("10.5.3.2/24") {
		t.Errorf("the container has %s", ep.IPv4)
	}
	peers := []catenet.Peer{{Host: addr("192.0.2.2"), Subnets: []netip.Prefix{prefix("10.5.9.0/24")}, By: "route"}}
	f.running(t).Tell(driver.News{Peers: peers, Hosts: []netip.Addr{peers[0].Host}, Memory: []byte("who is where"), Traffic: func() catenet.Traffic { return catenet.Traffic{Datapath: "by hand"} }, Trouble: errors.New("the store is away")})
	st := status(t, w, "wide")
	if st.Traffic == nil || st.Traffic.Datapath != "by hand" {
		t.Errorf("traffic %+v", st.Traffic)
	}
	if !reflect.DeepEqual(st.Peers, peers) || st.Trouble != "the store is away" || !strings.Contains(w.warnings(), "network wide: the store is away") {
		t.Errorf("status %+v, warnings %q", st, w.warnings())
	}
	hosts := func() []netip.Addr { return w.networks[n.ID].state.Firewall[0].Hosts }
	if !slices.Equal(hosts(), []netip.Addr{peers[0].Host}) {
		t.Errorf("the firewall knows of hosts %v", hosts())
	}
	w.repair(ctx, map[kernel.Loss]bool{{Reach: true}: true})
	select {
	case <-f.running(t).Lost:
	default:
		t.Error("the driver is not told of what is lost")
	}
	if _, _, err := w.UpdateNetwork(ctx, "wide", catenet.NetworkUpdate{MTU: 1400}); err != nil || len(hosts()) != 1 {
		t.Errorf("after an update (%v) the firewall knows of hosts %v", err, hosts())
	}

	f.forget()
	w.restart()
	if s := f.running(t); string(s.Memory) != "who is where" || !reflect.DeepEqual(s.Network.Part, &f.part) {
		t.Errorf("after a restart: memory %q, part %+v", s.Memory, s.Network.Part)
	}
	must(t, w.Remove(ctx, "x", true))
	must(t, w.noNetwork("wide"))
	if f.parts() != 0 {
		t.Errorf("%d parts are not given back", f.parts())
	}
	left, err := store.Load[[]byte](w.store, store.Live, kindMemory)
	if err != nil || len(left) != 0 {
		t.Errorf("of a network that is gone %q is remembered (%v)", left, err)
	}
	again := w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	f.forget()
	w.restart()
	if s := f.running(t); s.Memory != nil || s.Network.ID != again.ID {
		t.Errorf("another network remembers %q", s.Memory)
	}
}

// What cannot be made leaves no part, and nobody is asked for one in vain.
func TestSpanRefused(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "near", Pools: []catenet.Pool{{Subnet: prefix("10.5.8.0/24")}}})
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "wide", Driver: "far"}); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "near") {
		t.Errorf("over another network's subnet: %v", err)
	}
	f.part.Span = []netip.Prefix{prefix("10.0.0.0/9")}
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "near", Driver: "far"}); !catenet.IsConflict(err) {
		t.Errorf("under a name that is taken: %v", err)
	}
	if f.joins != 0 {
		t.Errorf("%d parts are taken in vain", f.joins)
	}
	must(t, w.noNetwork("near"))
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	if _, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "near", Pools: []catenet.Pool{{Subnet: prefix("10.5.8.0/24")}}}); !catenet.IsConflict(err) {
		t.Errorf("within another's span: %v", err)
	}
}

// Of many who ask for one network at once one takes the part, and nobody gives it back:
// to the registry a host has one part, whoever of it asks.
func TestSpanAtOnce(t *testing.T) {
	w, f := farWorld(t)
	made := make(chan error)
	for i := range 8 {
		go func() {
			_, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: []string{"wide", "side"}[i%2], Driver: "far"})
			made <- err
		}()
	}
	refused := 0
	for range 8 {
		if err := <-made; catenet.IsConflict(err) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 7 || f.joins != 1 || f.parts() != 1 {
		t.Errorf("%d are refused, and parts were taken %d times and are %d", refused, f.joins, f.parts())
	}
}

// Another part: new containers have its addresses, and those that run keep theirs.
func TestSpanOfAnotherPart(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	w.mustAttach("old", catenet.EndpointSpec{Network: "wide"})
	moved := f.part
	moved.Subnets, moved.MTU = []netip.Prefix{prefix("10.5.4.0/24")}, 1400
	f.running(t).Tell(driver.News{Part: &moved})
	if ep := w.mustAttach("new", catenet.EndpointSpec{Network: "wide"}).Endpoints[0]; ep.IPv4 != prefix("10.5.4.2/24") {
		t.Errorf("a new container has %s", ep.IPv4)
	}
	f.forget()
	w.restart()
	st, err := w.Sandbox(ctx, "old")
	must(t, err)
	if len(st.Endpoints) != 1 || st.Endpoints[0].IPv4 != prefix("10.5.3.2/24") {
		t.Errorf("the old container has %+v", st.Endpoints)
	}
	if st := status(t, w, "wide"); len(st.Pools) != 2 {
		t.Errorf("with a container of the old part its pools are %+v", st.Pools)
	}
	must(t, w.Remove(ctx, "old", true))
	f.running(t).Tell(driver.News{})
	if st := status(t, w, "wide"); len(st.Pools) != 1 || st.Pools[0].Subnet != moved.Subnets[0] {
		t.Errorf("without one they are %+v", st.Pools)
	}
	w.mustAttach("newer", catenet.EndpointSpec{Network: "wide"})
	f.running(t).Tell(driver.News{Part: &f.part}) // and back
	if ep := w.mustAttach("back", catenet.EndpointSpec{Network: "wide"}).Endpoints[0]; ep.IPv4 != prefix("10.5.3.2/24") {
		t.Errorf("a container then has %s", ep.IPv4)
	}
}

// A part that reaches over another network's addresses is not taken.
func TestSpanOfAPartThatDoesNotFit(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	w.network(catenet.NetworkSpec{Name: "near", Pools: []catenet.Pool{{Subnet: prefix("10.6.8.0/24")}}})
	wider := f.part
	wider.Subnets, wider.Span = []netip.Prefix{prefix("10.6.4.0/24")}, []netip.Prefix{prefix("10.6.0.0/16")}
	f.running(t).Tell(driver.News{Part: &wider})
	if st := status(t, w, "wide"); !reflect.DeepEqual(st.Part, &f.part) || len(st.Pools) != 1 || !strings.Contains(st.Trouble, "network near") {
		t.Errorf("it has the part %+v, and pools %+v, with trouble %q", st.Part, st.Pools, st.Trouble)
	}
}

// A driver that fails is trouble, and runs again.
func TestSpanRunsAgain(t *testing.T) {
	w, f := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	f.running(t)
	f.forget()
	f.fails <- errors.New("no device")
	eventually(t, "the trouble is told", func() bool { return strings.Contains(w.warnings(), "network wide: no device") })
	f.running(t).Tell(driver.News{})
	if got := w.warnings(); got != "" {
		t.Errorf("warnings: %q", got)
	}
}

// Ways to hosts of a network that nobody knows go at a start, others stay.
func TestSpanSweep(t *testing.T) {
	w, _ := farWorld(t)
	w.network(catenet.NetworkSpec{Name: "wide", Driver: "far"})
	known := kernel.Reach{Link: "eth0", Subnet: prefix("10.5.9.0/24"), Via: addr("192.0.2.2")}
	orphan := kernel.Reach{Link: "eth0", Subnet: prefix("10.6.9.0/24"), Via: addr("192.0.2.2")}
	must(t, w.kernel.Reach(ctx, []kernel.Reach{known, orphan}, nil))
	for _, drivers := range [][]driver.Driver{w.drivers, nil} { // none: an older daemon's
		w.drivers = drivers
		w.restart()
		left, err := w.kernel.Reached(ctx)
		must(t, err)
		if !reflect.DeepEqual(left, []kernel.Reach{known}) {
			t.Errorf("with %d more drivers left is %+v", len(drivers), left)
		}
	}
}
