package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// operation is a request that is failed or cut short at every step.
type operation struct {
	name  string
	setup func(w *world)
	do    func(w *world) error
}

// operations are all of them.
func operations() []operation { return append(operationsOnBridges(), operationsOnPairs()...) }

func operationsOnBridges() []operation {
	two := func(w *world) {
		w.network(catenet.NetworkSpec{Name: "one"})
		w.network(catenet.NetworkSpec{Name: "two", IPv6: true})
		w.kernel.Adopt("/test/x")
	}
	ports := []catenet.PortSpec{{Proto: "tcp", Port: 80, HostPort: 8080, HostPortEnd: 8080}, {Proto: "udp", Port: 53}}
	x := catenet.SandboxSpec{Name: "x", Ports: ports, Networks: []catenet.EndpointSpec{{Network: "one"}, {Network: "two"}}}
	attached := func(w *world) {
		two(w)
		_, err := w.attachSpec(x)
		must(w.t, err)
	}
	container := catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Ports: ports,
		Networks: []catenet.EndpointSpec{{Network: "one", IPv4: addr("172.18.0.9")}}, Process: &catenet.Process{Args: []string{"sleep"}}}
	ran := func(w *world) {
		two(w)
		_, err := w.CreateSandbox(ctx, container, true)
		must(w.t, err)
	}
	quiet := func(w *world) {
		w.network(catenet.NetworkSpec{Name: "one"})
		w.network(quietSpec("two"))
		w.kernel.Adopt("/test/x")
		_, err := w.attachSpec(servingSpec("db", "two"))
		must(w.t, err)
	}
	linking := catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "two", Links: []catenet.Link{{Container: "db", Alias: "store"}}}}}
	linked := func(w *world) {
		quiet(w)
		_, err := w.attachSpec(linking)
		must(w.t, err)
	}
	name := "other"
	change := func(who string) func(w *world) error {
		return func(w *world) error {
			_, err := w.UpdateSandbox(ctx, who, catenet.SandboxUpdate{Name: &name, Unpublish: ports[:1], Aliases: map[string][]string{"one": {"www"}},
				Publish: []catenet.PortSpec{{Proto: "tcp", Port: 81, HostPort: 8080, HostPortEnd: 8080}, {Proto: "sctp", Port: 80}}})
			return err
		}
	}
	return []operation{
		{"change what is attached", attached, change("x")},
		{"change what runs", ran, change("c")},
		{"rename who is linked", linked, func(w *world) error {
			_, err := w.UpdateSandbox(ctx, "db", catenet.SandboxUpdate{Name: &name})
			return err
		}},
		{"link", quiet, func(w *world) error { _, err := w.attachSpec(linking); return err }},
		{"disconnect who is linked", linked, func(w *world) error { return w.Disconnect(ctx, "two", "db", false) }},
		{"connect who is linked", func(w *world) { linked(w); must(w.t, w.Disconnect(ctx, "two", "db", false)) },
			func(w *world) error { _, err := w.Connect(ctx, "two", "db", catenet.EndpointSpec{}); return err }},
		{"detach who links", linked, func(w *world) error { return w.Remove(ctx, "x", false) }},
		{"create network", func(*world) {}, func(w *world) error {
			_, _, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "n", IPv6: true})
			return err
		}},
		{"remove network", two, func(w *world) error { return w.noNetwork("two") }},
		{"attach", two, func(w *world) error { _, err := w.attachSpec(x); return err }},
		{"connect", func(w *world) { two(w); w.mustAttach("x", catenet.EndpointSpec{Network: "two"}) },
			func(w *world) error { _, err := w.Connect(ctx, "one", "x", catenet.EndpointSpec{}); return err }},
		{"disconnect", attached, func(w *world) error { return w.Disconnect(ctx, "one", "x", false) }},
		{"detach", attached, func(w *world) error { return w.Remove(ctx, "x", false) }},
		{"run", two, func(w *world) error { _, err := w.CreateSandbox(ctx, container, true); return err }},
		{"start", func(w *world) {
			two(w)
			_, err := w.CreateSandbox(ctx, container, false)
			must(w.t, err)
		}, func(w *world) error { return w.Start(ctx, "c") }},
		{"remove by force", ran, func(w *world) error { return w.Remove(ctx, "c", true) }},
		{"stop", ran, func(w *world) error { return w.Stop(ctx, "c", 0) }},
		{"end with --rm", func(w *world) {
			two(w)
			passing := container
			passing.Process = &catenet.Process{Args: []string{"sleep"}, AutoRemove: true}
			_, err := w.CreateSandbox(ctx, passing, true)
			must(w.t, err)
		}, (*world).endOfC},
		{"remove networks by prune", func(w *world) { two(w); w.mustAttach("y", catenet.EndpointSpec{Network: "one"}) },
			func(w *world) error { _, err := w.PruneNetworks(ctx, catenet.Filter{}); return err }},
		{"share a network", ran, func(w *world) error {
			_, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:c"})
			return err
		}},
		{"stop one that shares", func(w *world) {
			ran(w)
			_, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:c"})
			must(w.t, err)
		}, func(w *world) error { return w.Stop(ctx, "side", 0) }},
		{"stop one that is shared", func(w *world) {
			ran(w)
			_, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:c"})
			must(w.t, err)
		}, func(w *world) error { return w.Stop(ctx, "c", 0) }},
	}
}

// operationsOnPairs are those on networks of two, and on one that changes.
func operationsOnPairs() []operation {
	pair := []catenet.EndpointSpec{{Network: "pair"}}
	one := func(w *world) {
		w.network(catenet.NetworkSpec{Name: "other"})
		w.network(catenet.NetworkSpec{Name: "pair", Driver: "ptp", IPv6: true})
		w.mustAttach("y", pair...)
		w.kernel.Adopt("/test/x")
	}
	both := func(w *world) { one(w); w.mustAttach("x", pair...) }
	direct := func(w *world) {
		w.network(catenet.NetworkSpec{Name: "direct", Driver: "routed", Pools: []catenet.Pool{subnet("10.8.1.0/24")},
			Options: map[string]string{"peers": "10.8.2.0/24=192.0.2.2,10.8.3.0/24=192.0.2.3,10.8.4.0/24=192.0.2.4,10.8.64.0/20=192.0.2.5"}})
	}
	c := catenet.SandboxSpec{Name: "c", Owner: catenet.OwnerRun, Networks: pair, Process: &catenet.Process{Args: []string{"sleep"}}}
	return []operation{
		{"attach to a pair", one, func(w *world) error { _, err := w.attach("x", pair...); return err }},
		{"connect to a pair", func(w *world) { one(w); w.mustAttach("x", catenet.EndpointSpec{Network: "other"}) },
			func(w *world) error { _, err := w.Connect(ctx, "pair", "x", catenet.EndpointSpec{}); return err }},
		{"disconnect from a pair", both, func(w *world) error { return w.Disconnect(ctx, "pair", "x", false) }},
		{"disconnect who is alone", one, func(w *world) error { return w.Disconnect(ctx, "pair", "y", false) }},
		{"detach from a pair", both, func(w *world) error { return w.Remove(ctx, "x", false) }},
		{"run in a pair", one, func(w *world) error { _, err := w.CreateSandbox(ctx, c, true); return err }},
		{"stop one of a pair", func(w *world) {
			one(w)
			_, err := w.CreateSandbox(ctx, c, true)
			must(w.t, err)
		}, func(w *world) error { return w.Stop(ctx, "c", 0) }},
		{"update peers", direct, func(w *world) error {
			_, _, err := w.UpdateNetwork(ctx, "direct", catenet.NetworkUpdate{Options: map[string]string{
				"peers": "10.8.2.0/24=192.0.2.2,10.8.3.0/24=192.0.2.9,10.8.5.0/24=192.0.2.4,10.8.65.0/24=192.0.2.5"}})
			return err
		}},
		{"update", func(w *world) { one(w); w.mustAttach("x", catenet.EndpointSpec{Network: "other"}) },
			func(w *world) error {
				_, _, err := w.UpdateNetwork(ctx, "other", catenet.NetworkUpdate{
					AddLabels: map[string]string{"a": "1"}, AddDNS: []netip.Addr{addr("192.0.2.1")}, MTU: 1400,
					AddPools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}}})
				return err
			}},
	}
}

// endOfC has the program of c end by itself, and waits until c is no more.
func (w *world) endOfC() error {
	st, err := w.Sandbox(ctx, "c")
	if err != nil {
		return err
	}
	w.processes.End(w.processDir(st.ID), 3)
	code, err := w.Wait(ctx, "c", func() {})
	if err == nil && code != 3 {
		err = fmt.Errorf("exit code %d, want 3", code)
	}
	for end := time.Now().Add(time.Second); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		_, err = w.Sandbox(ctx, "c")
	}
	if catenet.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("c ended, and is still there: %w", err)
}

// TestAFailureLeavesNothing fails each request at each call of the kernel.
// What makes something must leave all as it was; what takes something away
// must have got rid of it at the latest when the daemon starts again.
func TestAFailureLeavesNothing(t *testing.T) {
	broken := errors.New("the kernel says no")
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			well := newWorld(t)
			op.setup(well)
			must(t, op.do(well))
			after := well.shape()
			well.closeNow()
			for n := 1; ; n++ {
				w := newWorld(t)
				op.setup(w)
				w.reaper.wait()
				before := w.mark()
				w.kernel.FailAt(n, broken)
				err := op.do(w)
				failed := w.kernel.Failed()
				w.kernel.FailAt(0, nil)
				if err != nil && !errors.Is(err, broken) {
					t.Fatalf("call %d: %v", n, err)
				}
				switch {
				case !failed:
					w.closeNow()
					return // there is no n-th call
				case err != nil && !op.takesAway():
					w.unchanged(before)
				case err != nil:
					w.restart()
					if err := op.do(w); err != nil && !catenet.IsNotFound(err) {
						t.Errorf("call %d, once more: %v", n, err)
					}
					fallthrough
				default: // what failed was left to the next start
					w.restart()
					if got := w.shape(); got != after {
						t.Errorf("call %d failed, then a start (-want +got):\n%s", n, cmp.Diff(strings.Split(after, "\n"), strings.Split(got, "\n")))
					}
				}
				w.closeNow()
			}
		})
	}
}

// takesAway reports whether the request removes something: then it goes on
// where it failed, and is not undone.
func (op operation) takesAway() bool {
	first, _, _ := strings.Cut(op.name, " ")
	return slices.Contains([]string{"detach", "disconnect", "remove", "stop", "end"}, first)
}

// shape is the kernel's side and the model without what differs between two
// worlds: IDs, and what is made of them.
func (w *world) shape() string {
	text := w.outline() // waits for what happens beside
	for _, r := range []struct {
		differs *regexp.Regexp
		to      string
	}{
		{regexp.MustCompile(`[0-9a-f]{12,64}`), "ID"},
		{regexp.MustCompile(`02:4[26](:[0-9a-f]{2}){4}`), "MAC"},
		{regexp.MustCompile(`fd[0-9a-f]{2}:[0-9a-f:]+`), "ULA"},
		{regexp.MustCompile(`, [0-9a-f]{8}\n`), "\n"}, // sums of rules with IDs in them
	} {
		text = r.differs.ReplaceAllString(text, r.to)
	}
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestADaemonThatDiesKeepsItsWord stops the daemon dead at each call of the
// kernel, and starts another on the files and the kernel that it left. What
// it had not promised is gone, what it had is there, and nothing is left.
func TestADaemonThatDiesKeepsItsWord(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			well := newWorld(t)
			op.setup(well)
			must(t, op.do(well))
			after := well.shape()
			well.closeNow()
			for n := 1; ; n++ {
				if died := dieAt(t, op, n, after); !died {
					return
				}
			}
		})
	}
}

// dieAt has the daemon die at the n-th call. after is the shape once all is
// done.
func dieAt(t *testing.T, op operation, n int, after string) (died bool) {
	w := newWorld(t)
	op.setup(w)
	w.reaper.wait()
	before := w.outline()
	w.closeNow()
	grim := &reaped{died: make(chan struct{}), stop: make(chan struct{})}
	w.boot(func(k *fake.Kernel) hostAndNamespaces { grim.Kernel = k; return grim })
	t.Cleanup(grim.release) // before the shutdown, which waits for the dead
	grim.arm(n)
	done := make(chan error, 1)
	go func() {
		err := op.do(w)
		w.reaper.wait() // it may die while it buries links, after its answer
		done <- err
	}()
	select {
	case err := <-done:
		must(t, err)
		grim.arm(0)
		after := w.outline()
		w.restart()
		if got := w.outline(); got != after {
			t.Errorf("restarted without an accident\n%s\nwant\n%s", got, after)
		}
		w.closeNow()
		return false
	case <-grim.died:
	}
	// The dead engine stands still for good: its files are copied from under
	// it, with its ports and sockets gone as a dead process's are.
	dead := w.closeNow
	heir := &world{t: t, dir: w.dir, log: w.log, kernel: w.kernel, rules: w.rules, ports: newPorts(), processes: w.processes}
	for _, f := range []string{"state/catenet.db", "run/live.db"} {
		path := filepath.Join(w.dir, f)
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path+".copy", b, 0o600))
		must(t, os.Rename(path+".copy", path)) // the dead one keeps the lock of the old file
	}
	heir.boot(nil)
	got := heir.outline()
	if got != before {
		// It may have gone through to the end just as well, but nothing else.
		must(t, op.undoable(heir, got, before))
		got = heir.outline()
		if shape := heir.shape(); shape != after {
			t.Errorf("%s, died at call %d and finished by the next daemon (-want +got):\n%s", op.name, n, cmp.Diff(strings.Split(after, "\n"), strings.Split(shape, "\n")))
		}
	}
	heir.restart()
	if again := heir.outline(); again != got {
		t.Errorf("%s, died at call %d: a second start makes\n%s\nof\n%s", op.name, n, again, got)
	}
	heir.closeNow()
	grim.release()
	<-done
	dead()
	return true
}

// undoable checks a state that is not the one before: then the request must
// be one that takes something away, or changes a network that is there, and
// doing it again must find it done or finish it.
func (op operation) undoable(w *world, got, before string) error {
	if !op.takesAway() && !strings.HasPrefix(op.name, "update") {
		return fmt.Errorf("%s was not promised, and left\n%s\nof\n%s", op.name, got, before)
	}
	if err := op.do(w); err != nil && !catenet.IsNotFound(err) {
		return fmt.Errorf("%s again: %w", op.name, err)
	}
	return nil
}

// random is what differs between two starts of the same: IDs do not, ports of
// resolvers do.
var random = regexp.MustCompile(`redirect 127.0.0.11:53 to :\d+`)

// outline is everything that must be the same after a start, with names that
// follow from the run folder left out.
func (w *world) outline() string {
	// The end of a container is noticed beside the start.
	eventually(w.t, "every container runs or has ended", func() bool {
		for _, r := range w.records() {
			pid, err := w.processes.Running(w.processDir(r.ID))
			must(w.t, err)
			if r.Owner == catenet.OwnerRun && (r.State == catenet.StateRunning) != (pid != 0) {
				return false
			}
		}
		return true
	})
	s := random.ReplaceAllString(w.state()+w.use(), "redirect")
	return strings.ReplaceAll(s, w.dir, "DIR")
}

// reaped is a kernel at whose n-th call the daemon dies: that call and every
// later one never return.
type reaped struct {
	*fake.Kernel
	mu    sync.Mutex
	left  int
	armed bool
	died  chan struct{}
	stop  chan struct{}
	once  sync.Once
	// instead, if set, happens at the n-th call in place of death.
	instead func()
}

// release lets the dead go, so that what they hold can be closed.
func (r *reaped) release() { r.once.Do(func() { close(r.stop) }) }

func (r *reaped) arm(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left, r.armed = n, n > 0
}

// fate returns for the living, and waits with the dead.
func (r *reaped) fate() {
	r.mu.Lock()
	dead := false
	if r.armed {
		r.left--
		if r.left == 0 {
			close(r.died)
			if r.instead != nil {
				r.instead()
			}
		}
		dead = r.left <= 0 && r.instead == nil
	}
	r.mu.Unlock()
	if dead {
		<-r.stop
	}
}

func (r *reaped) alive() error {
	r.fate()
	select {
	case <-r.stop:
		return errors.New("dead")
	default:
		return nil
	}
}

func (r *reaped) EnsureLink(ctx context.Context, l kernel.Link) error {
	if err := r.alive(); err != nil {
		return err
	}
	return filed{r.Kernel}.EnsureLink(ctx, l)
}

func (r *reaped) DeleteLinks(ctx context.Context, names ...string) error {
	if err := r.alive(); err != nil {
		return err
	}
	return r.Kernel.DeleteLinks(ctx, names...)
}

func (r *reaped) JoinPair(ctx context.Context, l kernel.Link) error {
	if err := r.alive(); err != nil {
		return err
	}
	return filed{r.Kernel}.JoinPair(ctx, l)
}

func (r *reaped) PartPair(ctx context.Context, l kernel.Link) error {
	if err := r.alive(); err != nil {
		return err
	}
	return filed{r.Kernel}.PartPair(ctx, l)
}

func (r *reaped) Dress(ctx context.Context, ns *kernel.Namespace, o kernel.Outfit) error {
	if err := r.alive(); err != nil {
		return err
	}
	return filed{r.Kernel}.Dress(ctx, ns, o)
}

func (r *reaped) Create(ctx context.Context, path string) error {
	if err := r.alive(); err != nil {
		return err
	}
	return filed{r.Kernel}.Create(ctx, path)
}

func (r *reaped) Unpin(ctx context.Context, path string) error {
	if err := r.alive(); err != nil {
		return err
	}
	return r.Kernel.Unpin(ctx, path)
}

func (r *reaped) Open(path string) (*kernel.Namespace, error) {
	if err := r.alive(); err != nil {
		return nil, err
	}
	return filed{r.Kernel}.Open(path)
}
