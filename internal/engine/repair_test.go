package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/nft"
	"github.com/catenet/catenet/internal/store"
)

// warnings are those of the daemon.
func (w *world) warnings() string {
	w.t.Helper()
	info, err := w.Info(ctx)
	must(w.t, err)
	return strings.Join(info.Warnings, "\n")
}

// TestANetworkThatCannotComeUpIsGuardedAndTriedAgain has somebody else's link
// in the place of a bridge at a start.
func TestANetworkThatCannotComeUpIsGuardedAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front", Options: map[string]string{"com.docker.network.bridge.name": "front0"}})
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front"}, {Network: "bridge"}},
		Ports: []catenet.PortSpec{{Proto: "tcp", Port: 80, HostPort: 8080, HostPortEnd: 8080}}})
	must(t, err)
	before := w.state()
	_, rules, found := strings.Cut(before, "inet catenet")
	if !found {
		t.Fatalf("no table of ours in\n%s", before)
	}
	w.closeNow()
	w.kernel.Break("front0")
	w.kernel.Add(kernel.Link{Name: "front0", Kind: "dummy"})
	w.boot(nil)
	if got := w.state(); !strings.HasSuffix(got, rules) {
		t.Errorf("the firewall is\n%s\nand was\n%s", got, rules)
	}
	if got := w.warnings(); !strings.Contains(got, "network front is down: ") || !strings.Contains(got, "front0") {
		t.Errorf("warnings: %q", got)
	}
	w.repair(ctx, nil)
	if w.warnings() == "" {
		t.Error("it counts as up with the link in its way")
	}
	w.kernel.Break("front0")
	w.repair(ctx, nil)
	if got := w.warnings(); got != "" {
		t.Errorf("warnings once it is up: %q", got)
	}
	if got := random.ReplaceAllString(w.state(), ""); got != random.ReplaceAllString(before, "") {
		t.Errorf("brought up, it is\n%s\nand was\n%s", got, before)
	}
}

// TestNetworksThatThisBuildCannotServeStayOnRecord has a start find the
// records of another build.
func TestNetworksThatThisBuildCannotServeStayOnRecord(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front"})
	odd := catenet.Network{ID: catenet.NewID(), NetworkSpec: catenet.NetworkSpec{Name: "odd", Driver: "macvlan"}}
	bad := catenet.Network{ID: catenet.NewID(), NetworkSpec: catenet.NetworkSpec{Name: "bad", Driver: "bridge",
		Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.7.0.0/24"), Gateway: addr("10.8.0.1")}}}}
	for _, n := range []catenet.Network{odd, bad} {
		must(t, w.keepNetwork(networkEntry{Network: n}))
	}
	w.kernel.Add(kernel.Link{Name: "mv0", Kind: "bridge", Alias: kernel.Mark + odd.ID})
	w.restart()
	w.mustAttach("x", catenet.EndpointSpec{Network: "front"})
	if got := w.warnings(); !strings.Contains(got, `network odd is down: there is no driver "macvlan"`) || !strings.Contains(got, "network bad is down: ") {
		t.Errorf("warnings: %q", got)
	}
	for _, n := range []string{"odd", "bad"} {
		if _, err := w.attach("y", catenet.EndpointSpec{Network: n}); err == nil {
			t.Errorf("%s was joined", n)
		}
	}
	if !strings.Contains(w.kernel.String(), "mv0") {
		t.Error("its link was swept")
	}
	entries, err := store.Load[json.RawMessage](w.store, store.Durable, kindNetwork)
	must(t, err)
	if entries[odd.ID] == nil || entries[bad.ID] == nil {
		t.Error("its record is gone")
	}
	must(t, w.noNetwork("odd"))
	must(t, w.noNetwork("bad"))
	if got := w.warnings() + w.kernel.String(); strings.Contains(got, "down") || strings.Contains(got, "mv0") {
		t.Errorf("removed, there is still\n%s", got)
	}
}

// TestNothingLostIsNoRepair tells of losses where nothing is lost, as a
// disconnect of our own does.
func TestNothingLostIsNoRepair(t *testing.T) {
	w := newWorld(t)
	st := w.mustAttach("x", catenet.EndpointSpec{Network: "bridge"})
	events, err := w.Events(t.Context(), catenet.Filter{}, time.Time{})
	must(t, err)
	w.repair(ctx, map[kernel.Loss]bool{{}: true})
	select {
	case ev := <-events:
		t.Errorf("an event: %+v", ev)
	default:
	}
	w.kernel.Strip(st.NetnsPath, "eth0")
	w.repair(ctx, map[kernel.Loss]bool{{}: true}) // the watch may not have begun
	eventually(t, "its repair is told", func() bool {
		select {
		case ev := <-events:
			return ev.Action == "repair" && ev.Type == "sandbox"
		default:
			return false
		}
	})
}

// TestAFailedRepairIsTriedAgain has somebody else's link in the place of an
// endpoint's, at first.
func TestAFailedRepairIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	var log syncBuffer
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	w.restart()
	st := w.mustAttach("x", catenet.EndpointSpec{Network: "bridge"})
	before := w.state()
	w.cancel() // nobody but this test repairs
	w.tasks.Wait()
	link := hostLink(st.Endpoints[0])
	w.kernel.Break(link)
	w.kernel.Add(kernel.Link{Name: link, Kind: "dummy"})
	w.repair(ctx, map[kernel.Loss]bool{{Link: link}: true})
	if got := w.warnings(); !strings.Contains(got, "container x") || !strings.Contains(got, link) {
		t.Errorf("warnings: %q", got)
	}
	ailment := func() *ailment { return w.sandboxes[st.ID].ailment }
	for range 6 {
		calls := w.kernel.Calls()
		w.repair(ctx, nil)
		if n := w.kernel.Calls() - calls; n != 0 {
			t.Errorf("it is tried again before its time: %d calls", n)
		}
		ailment().next = time.Now()
		w.repair(ctx, nil)
		if w.kernel.Calls() == calls {
			t.Error("it is not tried again")
		}
	}
	if ailment().wait != patience || time.Until(ailment().next) > patience {
		t.Errorf("it is tried after %v, at %v", ailment().wait, ailment().next)
	}
	if n := strings.Count(log.String(), "trying on"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	w.kernel.Break(link)
	ailment().next = time.Now()
	w.repair(ctx, nil)
	if got := w.state(); got != before || ailment() != nil || w.warnings() != "" || !strings.Contains(log.String(), "right again") {
		t.Errorf("it is\n%s\nand was\n%s\nwarnings: %q, log:\n%s", got, before, w.warnings(), log.String())
	}
}

// syncBuffer is a log that goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// busy is a kernel that is asked for something else whenever it is asked.
type busy struct {
	filed
	others int
}

func (b *busy) EnsureLink(c context.Context, l kernel.Link) error {
	b.others++
	if err := b.Kernel.EnsureLink(ctx, kernel.Link{Name: fmt.Sprint("other", b.others), Kind: "dummy"}); err != nil {
		return err
	}
	return b.Kernel.EnsureLink(c, l)
}

// TestWhatOthersWriteIsNoRepair has an attach at work beside a repair that
// finds everything right.
func TestWhatOthersWriteIsNoRepair(t *testing.T) {
	w := newWorld(t)
	w.mustAttach("x", catenet.EndpointSpec{Network: "bridge"})
	w.closeNow()
	var b *busy
	w.boot(func(k *fake.Kernel) hostAndNamespaces { b = &busy{filed: filed{k}}; return b })
	events, err := w.Events(t.Context(), catenet.Filter{}, time.Time{})
	must(t, err)
	others := b.others
	w.repair(ctx, map[kernel.Loss]bool{{}: true})
	if b.others == others {
		t.Error("nothing was written meanwhile")
	}
	select {
	case ev := <-events:
		t.Errorf("an event: %+v", ev)
	default:
	}
}

// TestARemovalThatFailsIsTriedAgain: the network is off the record, so that
// nobody could ask for it once more.
func TestARemovalThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	before := w.state()
	w.network(catenet.NetworkSpec{Name: "front"})
	w.rules.Refuse = func(nft.Op) error { return errors.New("not now") }
	if err := w.noNetwork("front"); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("removed without its rules: %v", err)
	}
	w.takeDownAgain(ctx)
	if got := w.warnings(); !strings.Contains(got, "network front is removed, and not gone: ") {
		t.Errorf("warnings: %q", got)
	}
	w.rules.Refuse = nil
	w.takeDownAgain(ctx)
	if diff := cmp.Diff(before, w.state()); diff != "" || w.warnings() != "" {
		t.Errorf("left of it: %s, warnings: %q", diff, w.warnings())
	}
	w.network(catenet.NetworkSpec{Name: "front"})
}

// TestWhatIsBeingRemovedIsNotRaised has a repair and a removal of one network
// meet.
func TestWhatIsBeingRemovedIsNotRaised(t *testing.T) {
	w := newWorld(t)
	front := w.network(catenet.NetworkSpec{Name: "front"})
	var n *network
	w.locked(func() { n = w.networks[front.ID] })
	before := w.state()
	must(t, w.noNetwork("front"))
	after := w.state()
	if w.raise(ctx, n) || w.state() != after || before == after {
		t.Errorf("raised:\n%s", w.state())
	}
}

// shortsighted loses sight of a namespace once.
type shortsighted struct {
	filed
	once *sync.Once
}

func (s shortsighted) Gone(ctx context.Context, t kernel.Target) error {
	var err error
	s.once.Do(func() { err = errors.New("the kernel says no") })
	if err != nil {
		return err
	}
	return s.filed.Gone(ctx, t)
}

func TestAWatchThatFailsIsTakenUpAgain(t *testing.T) {
	w := newWorld(t)
	w.closeNow()
	w.boot(func(k *fake.Kernel) hostAndNamespaces { return shortsighted{filed{k}, new(sync.Once)} })
	w.mustAttach("x")
	w.kernel.Vanish("/test/x")
	eventually(t, "x is gone", func() bool { _, err := w.Sandbox(ctx, "x"); return catenet.IsNotFound(err) })
}

// blinking is a kernel whose first watch on links fails, and which gives out
// where losses are told from then on.
type blinking struct {
	filed
	once  *sync.Once
	again chan func(kernel.Loss)
}

func (b blinking) Watch(ctx context.Context, lost func(kernel.Loss)) error {
	var err error
	b.once.Do(func() { err = errors.New("the kernel says no") })
	if err != nil {
		return err
	}
	b.again <- lost
	<-ctx.Done()
	return ctx.Err()
}

// TestAWatchOnLinksThatFailsIsTakenUpAgain and what is lost then is put back.
func TestAWatchOnLinksThatFailsIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.closeNow()
	b := blinking{once: new(sync.Once), again: make(chan func(kernel.Loss), 1)}
	w.boot(func(k *fake.Kernel) hostAndNamespaces { b.filed = filed{k}; return b })
	st := w.mustAttach("x")
	before := w.state()
	select {
	case lost := <-b.again:
		w.kernel.Break(hostLink(st.Endpoints[0]))
		lost(kernel.Loss{Link: hostLink(st.Endpoints[0])})
	case <-time.After(10 * time.Second):
		t.Fatal("nobody watches")
	}
	eventually(t, "the link is put back", func() bool { return w.state() == before })
}
