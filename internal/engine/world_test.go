package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/driver/mode"
	"github.com/catenet/catenet/internal/driver/ptp"
	"github.com/catenet/catenet/internal/driver/routed"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/nft"
	"github.com/catenet/catenet/internal/names"
	"github.com/catenet/catenet/internal/store"
)

// world is an engine on a machine in memory, with real records on disk. What
// is in kernel, rules, ports and processes outlives the engine, as the
// kernel's side outlives a daemon.
type world struct {
	*Engine
	t         *testing.T
	dir       string
	log       *slog.Logger
	kernel    *fake.Kernel
	rules     *nft.Memory
	ports     *fakePorts
	processes *fake.Processes
	store     *store.Store
	names     *names.Names
	reunion   time.Duration
	progress  func(doing string, done, of int) // Options.Progress of the next engine
	drivers   []driver.Driver                  // more ones, of the next engine
	closeNow  func()                           // ends the present engine, once
}

// newWorld makes a machine and an engine that has started on it.
func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: memory(t), log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		kernel: fake.New(), rules: nft.NewMemory(), ports: newPorts(), processes: fake.NewProcesses()}
	w.boot(nil)
	return w
}

// memory is a folder where a sync costs nothing: power is not cut here.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "catenet-engine-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// boot starts an engine on the machine's present state. wrap, if set, stands
// before its kernel.
func (w *world) boot(wrap func(*fake.Kernel) hostAndNamespaces) {
	w.t.Helper()
	w.open(wrap)
	must(w.t, w.Restore(context.Background()))
}

// open makes an engine that is not brought to life.
func (w *world) open(wrap func(*fake.Kernel) hostAndNamespaces) {
	w.t.Helper()
	var err error
	w.store, err = store.Open(store.Options{StateDir: filepath.Join(w.dir, "state"), RunDir: filepath.Join(w.dir, "run"), Log: w.log})
	must(w.t, err)
	conf := filepath.Join(w.dir, "resolv.conf")
	must(w.t, os.WriteFile(conf, []byte("nameserver 192.0.2.53\n"), 0o600))
	w.names = names.New(names.Options{Log: w.log, ResolvConf: conf, StubResolvConf: conf})
	var k hostAndNamespaces = filed{w.kernel}
	g := gate{w.kernel, func() error { return nil }}
	if wrap != nil {
		k = wrap(w.kernel)
	}
	if m, ok := k.(mortal); ok {
		g.alive = m.alive
	}
	ports := gatedPorts{w.ports, g}
	w.Engine = New(Options{
		RunDir: filepath.Join(w.dir, "run"), StateDir: filepath.Join(w.dir, "state"), Log: w.log,
		Store: w.store, Host: k, Namespaces: k, Sockets: ports, Loopback: ports, Flows: ports, Names: w.names,
		Processes: gatedProcesses{w.processes, g}, Firewall: firewall.New(gatedRules{w.rules, g}, noNeighbours{}, w.log),
		Drivers:  append([]driver.Driver{bridge.New(), routed.New(bridge.New()), ptp.New(), mode.New("host", catenet.ModeHost, catenet.NetworkHost), mode.New("null", catenet.ModeNone, catenet.NetworkNone)}, w.drivers...),
		Reunion:  w.reunion,
		EtcNetns: filepath.Join(w.dir, "etc", "netns"),
		Progress: w.progress,
	})
	down := sync.OnceFunc(w.shutdown(w.Engine, w.names, w.store))
	w.t.Cleanup(down)
	w.closeNow = down
}

// shutdown returns what ends an engine in order.
func (w *world) shutdown(e *Engine, n *names.Names, s *store.Store) func() {
	return func() {
		if err := errors.Join(e.Close(), n.Close(), s.Close()); err != nil {
			w.t.Error(err)
		}
	}
}

// noNetwork removes a network.
func (w *world) noNetwork(name string) error {
	_, err := w.RemoveNetwork(ctx, name)
	return err
}

// restart ends the engine and starts another one on what is left.
func (w *world) restart() {
	w.closeNow()
	w.boot(nil)
}

// state is everything that is outside of the daemon, as text.
func (w *world) state() string {
	w.reaper.wait()
	tables, err := w.rules.Dump(context.Background(), nft.Ref{Family: nft.Inet, Name: "catenet"}, nft.Ref{Family: nft.Bridge, Name: "catenet"})
	must(w.t, err)
	// Forwarding stays on once it is: others may need it by then.
	k := strings.ReplaceAll(w.kernel.String(), "sysctl -w net.ipv6.conf.all.forwarding=1\n", "")
	return k + nftText(tables) + w.ports.String()
}

// nftText tells tables apart without spelling them out.
func nftText(tables []nft.Table) string {
	var b strings.Builder
	sum := func(name string, n int, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "  %s: %d, %08x\n", name, n, crc32.ChecksumIEEE(text))
	}
	for _, t := range tables {
		fmt.Fprintln(&b, t.Ref)
		for _, set := range t.Sets {
			if len(set.Elements) > 0 {
				sum(set.Name, len(set.Elements), set.Elements)
			}
		}
		for _, c := range t.Chains {
			sum(c.Name, len(c.Rules), c.Rules)
		}
	}
	return b.String()
}

// filed is a kernel whose pinned namespaces are files as well, for a start
// looks for them in the folder, and whose open ones have a descriptor, for
// nobody can work in one that is closed.
type filed struct{ *fake.Kernel }

func (f filed) Open(path string) (*kernel.Namespace, error) {
	ns, err := f.Kernel.Open(path)
	if err == nil {
		ns.File, err = os.Open(os.DevNull)
	}
	return ns, err
}

func (f filed) EnsureLink(ctx context.Context, l kernel.Link) error {
	if l.Peer != nil && l.Peer.NS != nil && closed(l.Peer.NS) {
		return fmt.Errorf("the namespace %s is closed", l.Peer.NS.Path)
	}
	return f.Kernel.EnsureLink(ctx, l)
}

func (f filed) JoinPair(ctx context.Context, l kernel.Link) error {
	if closed(l.Peer.NS) {
		return fmt.Errorf("the namespace %s is closed", l.Peer.NS.Path)
	}
	return f.Kernel.JoinPair(ctx, l)
}

func (f filed) PartPair(ctx context.Context, l kernel.Link) error {
	if closed(l.Peer.NS) {
		return fmt.Errorf("the namespace %s is closed", l.Peer.NS.Path)
	}
	return f.Kernel.PartPair(ctx, l)
}

func (f filed) Dress(ctx context.Context, ns *kernel.Namespace, o kernel.Outfit) error {
	if closed(ns) {
		return fmt.Errorf("the namespace %s is closed", ns.Path)
	}
	return f.Kernel.Dress(ctx, ns, o)
}

func closed(ns *kernel.Namespace) bool { return ns.File.Fd() == ^uintptr(0) }

func (f filed) Create(ctx context.Context, path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return f.Kernel.Create(ctx, path)
}

func (f filed) Unpin(ctx context.Context, path string) error {
	if err := f.Kernel.Unpin(ctx, path); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

type hostAndNamespaces interface {
	kernel.Host
	kernel.Namespaces
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// attach joins a new namespace of somebody else's.
func (w *world) attach(name string, networks ...catenet.EndpointSpec) (catenet.SandboxStatus, error) {
	return w.attachSpec(catenet.SandboxSpec{Name: name, Networks: networks})
}

func (w *world) attachSpec(s catenet.SandboxSpec) (catenet.SandboxStatus, error) {
	s.Owner, s.Netns = cmp.Or(s.Owner, catenet.OwnerAttach), "/test/"+strings.ReplaceAll(s.Name, "/", "_")
	if _, err := w.kernel.Open(s.Netns); err != nil {
		w.kernel.Adopt(s.Netns)
	}
	return w.CreateSandbox(context.Background(), s, true)
}

func (w *world) mustAttach(name string, networks ...catenet.EndpointSpec) catenet.SandboxStatus {
	w.t.Helper()
	st, err := w.attach(name, networks...)
	must(w.t, err)
	return st
}

func (w *world) network(spec catenet.NetworkSpec) catenet.Network {
	w.t.Helper()
	n, _, err := w.CreateNetwork(context.Background(), spec)
	must(w.t, err)
	return n
}

// noNeighbours is a host without another firewall.
type noNeighbours struct{}

func (noNeighbours) Obstacles(context.Context) ([]foreign.Obstacle, error) { return nil, nil }
func (noNeighbours) Allow(context.Context, foreign.Wanted) error           { return nil }

// fakePorts holds ports in memory, serves loopback in memory, and opens the
// resolver's sockets where the test runs.
type fakePorts struct {
	mu       sync.Mutex
	held     map[kernel.HeldPort]bool
	loopback map[kernel.LoopbackPort]bool
	next     uint16
	forgot   []kernel.Flow
	most     int    // how many can be held; 0: any number
	lacks    string // the protocol that this kernel has no sockets of
}

func newPorts() *fakePorts {
	return &fakePorts{held: map[kernel.HeldPort]bool{}, loopback: map[kernel.LoopbackPort]bool{}, next: 40000}
}

func (p *fakePorts) DialIn(context.Context, *kernel.Namespace, string) (net.Conn, error) {
	return nil, errors.New("nobody else answers here")
}

func (p *fakePorts) ListenIn(context.Context, *kernel.Namespace, uint16) (net.PacketConn, net.Listener, error) {
	for range 10 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		u, err := net.ListenPacket("udp4", l.Addr().String())
		if err == nil {
			return u, l, nil
		}
		l.Close()
	}
	return nil, nil, errors.New("no port is free in both protocols")
}

type heldFake struct {
	p   *fakePorts
	key kernel.HeldPort
}

func (h heldFake) Port() uint16 { return h.key.Port }
func (h heldFake) Close() error {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	delete(h.p.held, h.key)
	return nil
}

func (p *fakePorts) Hold(_ context.Context, key kernel.HeldPort) (kernel.Held, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key.Proto == p.lacks {
		return nil, catenet.Unsupportedf("this kernel has no %s", key.Proto)
	}
	for key.Port == 0 {
		p.next++
		if probe := (kernel.HeldPort{Proto: key.Proto, IP: key.IP, Port: p.next}); !p.held[probe] {
			key.Port = p.next
		}
	}
	if p.held[key] {
		return nil, catenet.Conflictf("port %d/%s on %s is taken", key.Port, key.Proto, key.IP)
	}
	if p.most > 0 && len(p.held) == p.most {
		return nil, fmt.Errorf("hold port: %w", limit.Files(syscall.EMFILE))
	}
	p.held[key] = true
	return heldFake{p, key}, nil
}

func (p *fakePorts) Set(ctx context.Context, add, remove []kernel.LoopbackPort) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kernel.Looks(ctx) {
		for _, x := range add {
			if !p.loopback[x] {
				return catenet.Conflictf("port %d is not served", x.Port)
			}
		}
		return nil
	}
	for _, x := range remove {
		delete(p.loopback, x)
	}
	for _, x := range add {
		p.loopback[x] = true
	}
	return nil
}

func (p *fakePorts) Restore(_ context.Context, ports []kernel.LoopbackPort) error {
	p.mu.Lock()
	clear(p.loopback)
	p.mu.Unlock()
	return p.Set(context.Background(), ports, nil)
}

func (p *fakePorts) Forget(_ context.Context, flows []kernel.Flow) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgot = append(p.forgot, flows...)
	return nil
}

func (p *fakePorts) Name() string { return "fake" }
func (p *fakePorts) Close() error { return nil }

func (p *fakePorts) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintln(len(p.held), "held", p.loopback)
}

// eventually waits for what happens beside the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: ", what)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
