package engine

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// slowGrave is a kernel that, with let set, removes no link until that is
// closed, and makes none before.
type slowGrave struct {
	filed
	let   chan struct{}
	asked func() // called when one is to be removed
	early bool   // one was to be made before let
}

func (g *slowGrave) DeleteLinks(ctx context.Context, names ...string) error {
	if g.let != nil {
		g.asked()
		<-g.let
	}
	return g.filed.DeleteLinks(ctx, names...)
}

func (g *slowGrave) EnsureLink(ctx context.Context, l kernel.Link) error {
	select {
	case <-g.let:
	default:
		if g.let != nil {
			g.early = true
			return errors.New("the old link is still there")
		}
	}
	return g.filed.EnsureLink(ctx, l)
}

// TestALinkIsMadeOnceTheOldOneIsBuried wants the address, or the namespace, of
// a link that is slow to go.
func TestALinkIsMadeOnceTheOldOneIsBuried(t *testing.T) {
	fixed := catenet.EndpointSpec{Network: "n", IPv4: addr("10.1.0.5")}
	for what, again := range map[string]func(context.Context, *world) error{
		"address": func(ctx context.Context, w *world) error {
			_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "y", Owner: catenet.OwnerAttach, Netns: "/test/y", Networks: []catenet.EndpointSpec{fixed}}, true)
			return err
		},
		"namespace": func(ctx context.Context, w *world) error {
			_, err := w.Connect(ctx, "n", "x", catenet.EndpointSpec{IPv4: addr("10.1.0.6")})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.network(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
			w.closeNow()
			g := &slowGrave{}
			w.boot(func(k *fake.Kernel) hostAndNamespaces { g.filed = filed{k}; return g })
			w.mustAttach("x", fixed)
			w.kernel.Adopt("/test/y")
			// Whoever waits stops when the link is to go: no time decides.
			hasty, cancel := context.WithCancel(ctx)
			g.let, g.asked = make(chan struct{}), cancel
			bury := sync.OnceFunc(func() { close(g.let) })
			t.Cleanup(bury)
			if err := w.Disconnect(hasty, "n", "x", false); !errors.Is(err, context.Canceled) {
				t.Errorf("left while the link is there: %v", err)
			}
			if err := again(hasty, w); !errors.Is(err, context.Canceled) || g.early {
				t.Errorf("before the old link is gone: %v, tried to make a new one: %v", err, g.early)
			}
			bury()
			must(t, again(ctx, w))
		})
	}
}

// TestANamespaceIsAttachedAgainOnceItIsEmpty: a name inside would be taken
// still.
func TestANamespaceIsAttachedAgainOnceItIsEmpty(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	w.closeNow()
	g := &slowGrave{}
	w.boot(func(k *fake.Kernel) hostAndNamespaces { g.filed = filed{k}; return g })
	w.mustAttach("x", catenet.EndpointSpec{Network: "n"})
	hasty, cancel := context.WithCancel(ctx)
	g.let, g.asked = make(chan struct{}), cancel
	bury := sync.OnceFunc(func() { close(g.let) })
	t.Cleanup(bury)
	must(t, w.Remove(ctx, "x", false))
	spec := catenet.SandboxSpec{Name: "y", Owner: catenet.OwnerAttach, Netns: "/test/x", Networks: []catenet.EndpointSpec{{Network: "n"}}}
	if _, err := w.CreateSandbox(hasty, spec, true); !errors.Is(err, context.Canceled) || g.early {
		t.Errorf("before the old link is gone: %v, tried to make a new one: %v", err, g.early)
	}
	bury()
	_, err := w.CreateSandbox(ctx, spec, true)
	must(t, err)
}

// blind is a kernel that tells nobody when a namespace goes. Processes are at
// /proc/PID/ns/net, and began at begun.
type blind struct {
	filed
	begun *uint64
}

func (blind) Gone(ctx context.Context, _ kernel.Target) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b blind) Target(path string, inode uint64) (kernel.Target, error) {
	t, err := b.filed.Target(path, inode)
	if strings.HasPrefix(path, "/proc/") {
		t.PID, t.StartTime = 77, *b.begun
	}
	return t, err
}

func (b blind) Pin(ctx context.Context, source, path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return b.filed.Pin(ctx, source, path)
}

// moveIn puts a namespace of somebody else's at path, with a redirect of its
// own, and returns what tells how it is.
func (w *world) moveIn(path string) (state func() string) {
	w.t.Helper()
	w.kernel.Adopt(path)
	ns, err := w.kernel.Open(path)
	must(w.t, err)
	must(w.t, w.kernel.Dress(ctx, ns, kernel.Outfit{ResolverPort: 5353}))
	return func() string {
		var lines []string
		for line := range strings.Lines(w.kernel.String()) {
			if strings.Contains(line, " "+path) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
}

// TestAStrangerInTheSamePlaceIsLeftAlone has another namespace stand where an
// attached one was: at its path, or with a process of its number. A place of
// ours keeps the latter's until the next start.
func TestAStrangerInTheSamePlaceIsLeftAlone(t *testing.T) {
	for path, spec := range map[string]catenet.SandboxSpec{"/test/x": {Netns: "/test/x"}, "/proc/77/ns/net": {PID: 77}} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t)
			w.network(catenet.NetworkSpec{Name: "n"})
			w.closeNow()
			b := blind{filed{w.kernel}, new(uint64)}
			boot := func() { w.boot(func(*fake.Kernel) hostAndNamespaces { return b }) }
			boot()
			w.kernel.Adopt(path)
			spec.Name, spec.Owner = "x", catenet.OwnerAttach
			st, err := w.CreateSandbox(ctx, spec, true)
			must(t, err)
			stranger := w.moveIn(path)
			*b.begun++
			before := stranger()
			if _, err := w.Connect(ctx, "n", "x", catenet.EndpointSpec{}); spec.PID == 0 && !catenet.IsNotFound(err) {
				t.Errorf("connect: %v", err)
			}
			w.closeNow()
			boot()
			if _, err := w.Sandbox(ctx, "x"); !catenet.IsNotFound(err) {
				t.Errorf("after the start it is still there: %v", err)
			}
			if got := stranger(); got != before {
				t.Errorf("the stranger is\n%s\nand was\n%s", got, before)
			}
			if left := w.kernel.String(); strings.Contains(left, hostLink(st.Endpoints[0])) || strings.Contains(left, w.netnsDir()) {
				t.Errorf("left:\n%s", left)
			}
		})
	}
}

// TestAnotherProcessOfTheSameNumberAndNamespace is not the one that was
// attached: that one has ended.
func TestAnotherProcessOfTheSameNumberAndNamespace(t *testing.T) {
	w := newWorld(t)
	w.closeNow()
	b := blind{filed{w.kernel}, new(uint64)}
	boot := func() { w.boot(func(*fake.Kernel) hostAndNamespaces { return b }) }
	boot()
	w.kernel.Adopt("/proc/77/ns/net")
	_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "x", Owner: catenet.OwnerAttach, PID: 77}, true)
	must(t, err)
	w.closeNow()
	*b.begun++
	boot()
	if _, err := w.Sandbox(ctx, "x"); !catenet.IsNotFound(err) {
		t.Errorf("after the start it is still there: %v", err)
	}
}

// atHome is a kernel whose host's namespace is the one at a path.
type atHome struct {
	filed
	path string
}

func (h atHome) Host() (uint64, error) {
	ns, err := h.Kernel.Open(h.path)
	if err != nil {
		return 0, err
	}
	return ns.Inode, nil
}

func TestTheHostsOwnNamespaceIsNotAttached(t *testing.T) {
	w := newWorld(t)
	w.closeNow()
	w.kernel.Adopt("/test/host")
	w.boot(func(k *fake.Kernel) hostAndNamespaces { return atHome{filed{k}, "/test/host"} })
	before := w.mark()
	if _, err := w.attach("host"); !catenet.IsInvalid(err) || !strings.Contains(err.Error(), "host's own") || !strings.Contains(catenet.HintOf(err), "--network host") {
		t.Errorf("%v (%s)", err, catenet.HintOf(err))
	}
	w.unchanged(before)
}
