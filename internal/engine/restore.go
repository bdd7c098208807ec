package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// Restore brings the engine to life: what was promised before is made true
// again, what is ours and unknown goes, and the predefined networks exist.
// One thing that cannot be restored is told and does not keep the others from
// it.
func (e *Engine) Restore(ctx context.Context) error {
	var wrote atomic.Uint64
	ctx = kernel.CountWrites(ctx, &wrote)
	if err := makeFolder(e.netnsDir(), 0o755); err != nil {
		return fmt.Errorf("make run folder: %w", err)
	}
	if err := e.loadNetworks(ctx); err != nil {
		return err
	}
	live, err := e.loadSandboxes(ctx)
	if err != nil {
		return err
	}
	for _, n := range e.networks {
		e.report("go on with renaming", n.Name, e.rewrite(n))
	}
	e.answer(ctx, live)
	if err := e.sweepLinks(ctx); err != nil { // nothing may stand where a network is to be made
		e.log.Error("remove links that nobody knows", "err", err)
	}
	if err := e.restoreHost(ctx, live); err != nil {
		return err
	}
	if err := e.predefine(ctx); err != nil {
		return err
	}
	oneDone := e.counted("restoring containers", len(live))
	sideBySide(live, func(sb *sandbox) { e.repairSandbox(ctx, sb); oneDone() })
	if err := errors.Join(e.sweep(ctx), e.sweepLogs(), e.sweepReach(ctx)); err != nil {
		e.log.Error("remove what nobody knows", "err", err)
	}
	for _, sb := range live {
		sb.op.Lock()
		e.watch(sb, sb.now)
		sb.op.Unlock()
	}
	e.log.Info("what was promised is true again", "networks", len(e.networks), "running", len(live), "link_writes", wrote.Load())
	for _, n := range e.networks {
		e.keepSpan(n)
	}
	for _, p := range slices.Collect(maps.Values(e.handbacks)) {
		e.handBack(p)
	}
	e.goTask(e.keepTrue)
	e.tellObstacles(ctx)
	return nil
}

// loadNetworks reads the networks into the model, with their pools, and what of
// those is promised.
func (e *Engine) loadNetworks(ctx context.Context) error {
	entries, err := store.Load[networkEntry](e.o.Store, store.Durable, kindNetwork)
	if err != nil {
		return fmt.Errorf("read networks: %w", err)
	}
	cursors, err := store.Load[[]netip.Addr](e.o.Store, store.Live, kindCursor)
	if err != nil {
		return fmt.Errorf("read cursors of pools: %w", err)
	}
	for id, entry := range entries {
		if entry.Pending {
			e.log.Info("network was never finished: gone", "network", entry.Name)
			if d := e.drivers[entry.Driver]; d != nil {
				e.report("take down network", entry.Name, d.Down(ctx, e.o.Host, entry.Network))
			}
			if err := e.dropNetwork(id); err != nil {
				return err
			}
			continue
		}
		n := e.knownNetwork(entry.Network)
		n.was = entry.Was
		for i, at := range cursors[id][:min(len(cursors[id]), len(n.pools))] {
			n.pools[i].SetCursor(at)
		}
		e.locked(func() { e.networks[id] = n })
		e.o.Names.SetNetwork(n.ID, n.Name, n.inward())
	}
	return errors.Join(e.loadLeases(), e.loadClaims(), e.loadHandbacks(ctx))
}

// knownNetwork is a network on record as the engine holds it: with its driver
// and pools, or without, if it makes no sense to this build.
func (e *Engine) knownNetwork(on catenet.Network) *network {
	n := &network{Network: on, driver: e.driverOf(on), members: make(map[string]string), leases: make(map[netip.Addr]catenet.Lease), ready: true}
	if n.driver == nil {
		n.driver = absent{on.Driver, catenet.Unsupportedf("there is no driver %q in this build", on.Driver)}
		return n
	}
	for _, p := range livePools(on) {
		pool, err := ipam.NewPool(p)
		if err != nil {
			n.driver, n.pools = absent{on.Driver, err}, nil
			return n
		}
		n.pools = append(n.pools, pool)
	}
	return n
}

// loadSandboxes reads the sandboxes into the model, goes back to what was
// promised where a change was under way, and returns those that live.
func (e *Engine) loadSandboxes(ctx context.Context) ([]*sandbox, error) {
	containers, err := store.Load[containerEntry](e.o.Store, store.Durable, kindContainer)
	if err != nil {
		return nil, fmt.Errorf("read containers: %w", err)
	}
	entries, err := store.Load[sandboxEntry](e.o.Store, store.Live, kindSandbox)
	if err != nil {
		return nil, fmt.Errorf("read sandboxes: %w", err)
	}
	var running []*record
	for _, entry := range entries {
		if entry.Now != nil {
			running = append(running, entry.Now)
		}
	}
	if err := e.enoughFiles(running); err != nil {
		return nil, err
	}
	var live []*sandbox
	for id, entry := range entries {
		sb, err := e.loadLive(ctx, id, entry, containers)
		if err != nil {
			return nil, err
		}
		if sb != nil {
			live = append(live, sb)
			delete(containers, id)
		}
	}
	for id, c := range containers {
		e.loadStopped(id, c)
	}
	e.locked(func() {
		for _, sb := range e.sandboxes {
			for _, n := range e.networks {
				e.reclaimFixed(sb.now, n)
			}
		}
	})
	return live, nil
}

// ownFiles is how many files a daemon has open that serves nobody, or a few
// more.
const ownFiles = 48

// enoughFiles refuses a start that would run out of files: who cannot be
// watched would be taken for gone.
func (e *Engine) enoughFiles(running []*record) error {
	if e.o.Files == nil {
		return nil
	}
	need := ownFiles
	for _, r := range running {
		need += 3 + len(r.Bindings) // the resolver's two, a process to watch, held ports
	}
	if err := e.o.Files(need); err != nil {
		return fmt.Errorf("restore %d containers: %w", len(running), err)
	}
	return nil
}

// CouldStart returns the error with which the next start would be refused,
// were it now: this daemon may have got by with less.
func (e *Engine) CouldStart() error {
	return e.enoughFiles(slices.DeleteFunc(e.records(), func(r *record) bool { return r.State != catenet.StateRunning }))
}

// loadLive reads one sandbox that ran when the last daemon went. It returns
// nil for one that is not to be any more.
func (e *Engine) loadLive(ctx context.Context, id string, entry sandboxEntry, containers map[string]containerEntry) (*sandbox, error) {
	now := entry.Now
	if now != nil && slices.Contains(now.EtcDirs, e.o.EtcNetns) {
		e.madeEtcNetns.Store(true)
	}
	c, known := containers[id]
	// A program without a process ID was about to be started for somebody.
	if now == nil || now.State != catenet.StateRunning || now.Owner == catenet.OwnerRun && (!known || c.Pending || now.InitPID == 0) {
		e.abandon(ctx, id, entry)
		return nil, nil
	}
	alive := e.alive(now)
	if entry.Next != nil {
		e.report("leave networks", now.Name, e.partFrom(ctx, now, endpointsBut(entry.Next, now)))
	}
	if entry.Next != nil && known { // the durable side went ahead
		e.report("record container", now.Name, e.keepContainer(now))
	}
	if entry.Next != nil || !alive {
		if err := e.keep(id, sandboxEntry{Now: now}); err != nil {
			return nil, err
		}
	}
	if !alive {
		e.log.Info("namespace went while no daemon was there", "container", now.Name)
		e.abandon(ctx, id, entry)
		return nil, nil
	}
	sb := e.revive(now)
	e.locked(func() {
		sb.inherited = true
		for _, ep := range now.Endpoints {
			e.reclaim(now, ep)
		}
	})
	return sb, nil
}

// loadStopped reads a container of our own that does not run.
func (e *Engine) loadStopped(id string, c containerEntry) {
	if c.Pending {
		e.report("remove container that was never started", c.Name, e.eraseContainer(id))
		return
	}
	if c.Process.AutoRemove && c.State != catenet.StateCreated {
		e.report("remove container that has ended", c.Name, e.eraseContainer(id))
		return
	}
	r := &record{SandboxStatus: catenet.SandboxStatus{Sandbox: c.Sandbox}}
	if c.State == catenet.StateRunning {
		r = stopped(r, kernel.Exit{Code: lostExit, Finished: time.Now()})
		e.report("record end of container", c.Name, e.keepContainer(r))
	}
	sb := e.revive(r)
	if r.State == catenet.StateExited {
		close(sb.ended)
	}
}

// revive puts a sandbox into the model.
func (e *Engine) revive(r *record) *sandbox {
	sb := &sandbox{id: r.ID, name: r.Name, now: r, held: make(map[portKey]kernel.Held), ended: make(chan struct{})}
	if r.State == catenet.StateRunning {
		sb.named = r
	}
	e.locked(func() { e.sandboxes[r.ID] = sb; e.noteLinks(sb) })
	return sb
}

// alive reports whether the namespace that a record was attached to is still
// there. Of a program of ours the process room knows, and tells the watcher.
func (e *Engine) alive(r *record) bool {
	if r.Owner == catenet.OwnerRun || r.expected() {
		return true
	}
	ns, err := e.o.Namespaces.Open(r.Target.Path)
	if err != nil {
		return false
	}
	defer ns.Close()
	t, err := e.o.Namespaces.Target(r.Target.Path, ns.Inode)
	return err == nil && t == r.Target
}

// abandon forgets a live entry whose sandbox is not to be. Links, ports and
// pins of it are swept as unknown; what is in the namespace, files and
// processes are named only here.
func (e *Engine) abandon(ctx context.Context, id string, entry sandboxEntry) {
	for _, r := range []*record{entry.Now, entry.Next} {
		if r == nil {
			continue
		}
		if r.Owner == catenet.OwnerRun {
			e.report("leave networks", r.Name, e.partFrom(ctx, r, r.Endpoints))
			e.report("end container", r.Name, e.o.Processes.Signal(ctx, e.processDir(id), syscall.SIGKILL))
		} else {
			e.report("vacate namespace", r.Name, e.vacate(ctx, r))
		}
		e.report("remove files", r.Name, e.removeFiles(r)) // by which leave knows what it laid
	}
	e.report("forget sandbox", id, e.keep(id, sandboxEntry{}))
}

// reclaim takes an endpoint's addresses again. e.mu is held.
func (e *Engine) reclaim(r *record, ep catenet.Endpoint) {
	n := e.networks[ep.NetworkID]
	if n == nil {
		e.log.Error("endpoint of a network that is gone", "container", r.Name, "network", ep.Spec.Network)
		return
	}
	n.members[ep.ID] = r.ID
	if ep.IPv4.IsValid() {
		e.retake(r, n, ep.ID, ep.IPv4.Addr())
	}
	if ep.IPv6.IsValid() {
		e.retake(r, n, ep.ID, ep.IPv6.Addr())
	}
}

// retake takes one address that a record had before. e.mu is held.
func (e *Engine) retake(r *record, n *network, endpoint string, a netip.Addr) {
	if pool := poolFor(n, a); pool != nil {
		e.unlease(n, pool, endpoint, a)
		e.report("take address again", r.Name, pool.Restore(r.ID, a))
	}
}

// reclaimFixed takes the fixed addresses of a container in a network again.
// e.mu is held.
func (e *Engine) reclaimFixed(r *record, n *network) {
	if r.Owner != catenet.OwnerRun {
		return
	}
	for _, s := range r.Networks {
		for _, a := range []netip.Addr{s.IPv4, s.IPv6} {
			if a.IsValid() && fixedIn(r.Sandbox, n, a) {
				e.retake(r, n, "", a)
			}
		}
	}
}

// restoreHost makes the networks' links, and in one go all rules and ports.
// Nothing that was closed is open in between.
func (e *Engine) restoreHost(ctx context.Context, live []*sandbox) error {
	var networks []firewall.Network
	var ports []firewall.Port
	var loopback []kernel.LoopbackPort
	var links []firewall.Link
	for _, n := range e.networks {
		n.state, n.down = n.driver.Up(ctx, e.o.Host, n.Network)
		if n.down != nil {
			e.log.Error("bring up network again; trying on", "network", n.Name, "err", n.down)
		}
		networks = append(networks, n.state.Firewall...)
	}
	for _, sb := range live {
		e.locked(func() { sb.open = e.opened(sb.named) })
		links = slices.AppendSeq(links, maps.Keys(sb.open))
		for _, b := range sb.now.Bindings {
			ports = append(ports, sb.now.firewallPort(b))
		}
		loopback = append(loopback, sb.now.loopbackPorts()...)
	}
	if err := e.o.Firewall.Restore(ctx, networks, ports, links...); err != nil {
		return fmt.Errorf("restore firewall: %w", err)
	}
	if err := e.o.Loopback.Restore(ctx, loopback); err != nil {
		return fmt.Errorf("restore ports on loopback: %w", err)
	}
	return nil
}

// predefine makes the predefined networks that are not there yet.
func (e *Engine) predefine(ctx context.Context) error {
	for _, spec := range []catenet.NetworkSpec{
		{Name: catenet.NetworkBridge, Driver: defaultDriver},
		{Name: catenet.NetworkHost, Driver: "host"},
		{Name: catenet.NetworkNone, Driver: "null"},
	} {
		e.mu.Lock()
		_, err := e.network(spec.Name)
		e.mu.Unlock()
		if err == nil {
			continue
		}
		n := catenet.Network{ID: catenet.NewID(), NetworkSpec: spec, Created: time.Now(), Predefined: true}
		if _, err := e.makeNetwork(ctx, n); err != nil {
			return fmt.Errorf("make predefined network %s: %w", spec.Name, err)
		}
	}
	return nil
}

// answer has the lookups of every living sandbox answered: before anything
// else, since their links outlive a daemon and their resolver does not.
func (e *Engine) answer(ctx context.Context, live []*sandbox) {
	for _, sb := range live {
		e.register(sb.now)
	}
	sideBySide(live, func(sb *sandbox) {
		if !sb.now.networked() {
			return
		}
		sb.op.Lock()
		defer sb.op.Unlock()
		ns, err := e.open(sb.now)
		if err != nil || ns == nil {
			return // the repair that follows says so, or it is still to come
		}
		defer ns.Close()
		next := sb.now.clone()
		var kept undo // nothing else can fail
		if err := e.serve(ctx, sb, next, ns, &kept); err != nil {
			return
		}
		if next.ResolverPort != sb.now.ResolverPort { // the repair leads lookups there
			e.report("record container", next.Name, e.commit(sb, next))
		}
	})
	e.o.Names.Disinherit()
}

// repairSandbox makes a sandbox's kernel side as its record says.
func (e *Engine) repairSandbox(ctx context.Context, sb *sandbox) {
	sb.op.Lock()
	defer sb.op.Unlock()
	e.mu.Lock()
	now := sb.now
	e.mu.Unlock()
	if now == nil || now.State != catenet.StateRunning {
		return
	}
	next := now.clone()
	err := e.transition(ctx, sb, next, next)
	held := e.holdAgain(ctx, sb, now)
	if ctx.Err() != nil {
		return
	}
	e.ail(sb, now, errors.Join(err, held))
	if err == nil && next.ResolverPort != now.ResolverPort {
		e.report("record container", now.Name, e.commit(sb, next))
	}
}
