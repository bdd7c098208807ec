package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// lostExit is the exit code of a container whose end nobody saw: the machine
// went down under it.
const lostExit = 255

// createContainer records a container of our own, and starts it if asked.
func (e *Engine) createContainer(ctx context.Context, r *record, start bool) (st catenet.SandboxStatus, err error) {
	sb, err := e.claim(r.ID, r.Name)
	if err != nil {
		return st, err
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	var u undo
	defer u.unless(&err)
	u.add(func() { e.forget(sb) })
	if err = e.checkNetworks(r); err != nil {
		return st, err
	}
	if err = e.aimLinks(sb, r.Networks); err != nil {
		return st, err
	}
	defer e.locked(func() { sb.aims = nil })
	if err = checkRootfs(r.Process.Rootfs); err != nil {
		return st, err
	}
	for _, s := range r.Networks {
		if err = e.reserve(r, s, &u); err != nil {
			return st, err
		}
	}
	if err = e.putContainer(r, start); err != nil {
		return st, err
	}
	u.add(func() { e.report("take back container", r.Name, e.eraseContainer(r.ID)) })
	if err = e.makeLog(r.ID); err != nil {
		return st, err
	}
	e.locked(func() { sb.now = r })
	e.tell("sandbox", "create", r.ID, "name", r.Name, "owner", string(r.Owner))
	u.add(func() {
		e.locked(func() { closeOnce(sb.ended) }) // nobody waits for what never ran
		e.tell("sandbox", "destroy", r.ID, "name", r.Name, "owner", string(r.Owner))
	})
	if start {
		running, err := e.start(ctx, sb, r)
		if err != nil {
			return st, err
		}
		return running.status(), nil
	}
	return r.status(), nil
}

// makeLog makes a container's log, so that it can be followed before its
// first line.
func (e *Engine) makeLog(id string) error {
	err := makeFolder(filepath.Dir(e.logPath(id)), 0o700)
	if err == nil {
		err = makeFile(e.logPath(id))
	}
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	return nil
}

// checkRootfs checks that a root file system is there to be used.
func checkRootfs(path string) error {
	if path == "" {
		return nil
	}
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		return catenet.Invalidf("the rootfs %s is no folder", path).WithHint("--rootfs wants the folder that is to be the container's /")
	}
	return nil
}

// checkNetworks checks that what a container is to join exists and takes it,
// and its ports.
func (e *Engine) checkNetworks(r *record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, s := range r.Networks {
		n, err := e.network(s.Network)
		if err != nil {
			return err
		}
		r.Networks[i].Network = n.Name
		if err := checkAlone(r.Name, r.Networks[i], r.Networks[:i]); err != nil {
			return err
		}
		if err := n.driver.ValidateEndpoint(n.Network, s); err != nil {
			return err
		}
	}
	if target, ok := strings.CutPrefix(r.Mode, catenet.ModeContainer); ok {
		sb, err := e.sandbox(target)
		if err != nil {
			return err
		}
		r.Mode = catenet.ModeContainer + sb.id // names come and go
	}
	return e.checkPorts(r)
}

// reserve takes the fixed addresses of one spec for a container, running or
// not.
func (e *Engine) reserve(r *record, s catenet.EndpointSpec, u *undo) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(s.Network)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{s.IPv4, s.IPv6} {
		if !a.IsValid() {
			continue
		}
		pool := poolFor(n, a)
		if pool == nil {
			return catenet.Invalidf("address %s is in no subnet of network %s", a, n.Name).WithHint("its subnets are: %s", subnets(n.Network))
		}
		if _, err := e.request(n, pool, r.ID, "", a); err != nil {
			return err
		}
		u.add(func() { e.locked(func() { e.giveBack(n, pool, r.ID, a) }) })
	}
	return nil
}

// unreserve gives back the fixed addresses that now has and next has not.
// e.mu is held.
func (e *Engine) unreserve(now, next *record) {
	for _, s := range now.Networks {
		for _, a := range []netip.Addr{s.IPv4, s.IPv6} {
			for _, n := range e.networks {
				if !a.IsValid() || !fixedIn(now.Sandbox, n, a) || next != nil && fixedIn(next.Sandbox, n, a) {
					continue
				}
				pool := poolFor(n, a)
				if pool == nil {
					continue // the network has been made anew, elsewhere
				}
				if by, _ := pool.Owner(a); by == now.ID {
					e.giveBack(n, pool, now.ID, a)
				}
			}
		}
	}
}

// Start starts a container that does not run.
func (e *Engine) Start(ctx context.Context, ref string) error {
	sb, now, err := e.lockSandbox(ref)
	if err != nil {
		return err
	}
	defer sb.op.Unlock()
	if now.Owner != catenet.OwnerRun {
		return catenet.Invalidf("%s is an attached namespace: catenet does not start it", now.Name)
	}
	if now.State == catenet.StateRunning {
		return nil
	}
	_, err = e.start(ctx, sb, now)
	return err
}

// start makes the container's namespace, joins its networks, and runs its
// program there. sb.op is held.
func (e *Engine) start(ctx context.Context, sb *sandbox, now *record) (next *record, err error) {
	var u undo
	defer u.unless(&err)
	next = now.clone()
	next.State, next.Started, next.Finished, next.ExitCode = catenet.StateRunning, time.Now(), time.Time{}, 0
	next.Warnings = nil
	if err = e.checkLinks(next.Name, next.Networks); err != nil {
		return nil, err
	}
	if err = e.house(ctx, next, &u); err != nil {
		return nil, err
	}
	if err = e.plan(now, next, next.Networks, &u); err != nil {
		return nil, missing(next, err)
	}
	// From here on dissolve knows how to take back all that start does.
	if err = e.transition(ctx, sb, now, next); err != nil {
		return nil, err
	}
	pid, err := e.o.Processes.Start(ctx, e.program(next))
	if err == nil {
		next = next.clone()
		next.InitPID = pid
		if strings.HasPrefix(next.Mode, catenet.ModeContainer) {
			// The other container's next run is in another namespace.
			next.NetnsPath = fmt.Sprintf("/proc/%d/ns/net", pid)
		}
		err = e.commit(sb, next)
	}
	if err == nil {
		err = e.keepContainer(next)
	}
	if err != nil {
		u = nil
		e.takeBackStart(context.WithoutCancel(ctx), sb, now, next, pid)
		return nil, err
	}
	e.locked(func() { sb.inherited = false })
	e.watch(sb, next)
	e.tellJoined(nil, next)
	e.tell("sandbox", "start", next.ID, "name", next.Name, "owner", string(next.Owner))
	return next, nil
}

// takeBackStart ends what of a container was started, and makes it again what
// it was.
func (e *Engine) takeBackStart(ctx context.Context, sb *sandbox, now, next *record, pid int) {
	if pid != 0 {
		e.report("end container", next.Name, e.o.Processes.Signal(ctx, e.processDir(next.ID), syscall.SIGKILL))
	}
	e.report("take back start", next.Name, e.dissolve(ctx, sb, next))
	e.locked(func() {
		sb.now = now
		if now.State == catenet.StateExited {
			closeOnce(sb.ended)
		}
	})
}

// missing says what to do about a network that is gone since a container was
// made.
func missing(r *record, err error) error {
	if !catenet.IsNotFound(err) {
		return err
	}
	return catenet.NotFoundf("%w", err).
		WithHint("make it again, or take container %s out of it: catenet network disconnect NETWORK %s", r.Name, r.Name)
}

// house gives a container the namespace that its mode says.
func (e *Engine) house(ctx context.Context, r *record, u *undo) error {
	target, shared := strings.CutPrefix(r.Mode, catenet.ModeContainer)
	switch {
	case r.Mode == catenet.ModeHost:
		return nil
	case shared:
		host, err := e.record(target)
		if catenet.IsNotFound(err) {
			return catenet.NotFoundf("the container whose network %s shares is gone: %s", r.Name, catenet.ShortID(target)).
				WithHint("run another one with --network container:NAME, and remove this one: catenet rm %s", r.Name)
		}
		if err != nil {
			return err
		}
		if host.State != catenet.StateRunning {
			return catenet.Conflictf("container %s is not running: its network cannot be shared", host.Name).WithHint("catenet start %s first", host.Name)
		}
		r.NetnsPath, r.Etc, r.EtcFiles = host.NetnsPath, host.Etc, nil
		if host.Owner == catenet.OwnerRun {
			r.Hostname = host.Hostname // whose files say so
		}
		return nil
	}
	r.Pin = e.netnsPath(r.ID)
	r.NetnsPath = r.Pin
	if err := e.o.Namespaces.Create(ctx, r.Pin); err != nil {
		return fmt.Errorf("make namespace of %s: %w", r.Name, err)
	}
	u.add(func() { e.report("unpin namespace", r.Name, e.o.Namespaces.Unpin(context.WithoutCancel(ctx), r.Pin)) })
	ns, err := e.o.Namespaces.Open(r.Pin)
	if err != nil {
		return err
	}
	defer ns.Close()
	r.Target = kernel.Target{Path: r.Pin, Inode: ns.Inode}
	return nil
}

// exited takes down a container whose program has ended.
func (e *Engine) exited(sb *sandbox, exit kernel.Exit) {
	sb.op.Lock()
	defer sb.op.Unlock()
	e.mu.Lock()
	now := sb.now
	e.mu.Unlock()
	if now == nil || now.State != catenet.StateRunning {
		return
	}
	ctx := context.WithoutCancel(e.ctx)
	next := stopped(now, exit)
	e.report("record end of container", now.Name, e.keepContainer(next))
	e.report("take down container", now.Name, e.dissolve(ctx, sb, now))
	e.tellLeft(now, nil)
	e.locked(func() { sb.now, sb.exit = next, exit.Code })
	e.tell("sandbox", "die", now.ID, "name", now.Name, "owner", string(now.Owner), "exitCode", fmt.Sprint(exit.Code))
	if now.Process.AutoRemove {
		e.removeEnded(sb, next)
	}
	e.locked(func() { closeOnce(sb.ended) })
}

// removeEnded removes a container that has ended and is not to stay, as soon
// as Options.Reunion allows. sb.op is held.
func (e *Engine) removeEnded(sb *sandbox, now *record) {
	wait := time.Until(e.born.Add(e.o.Reunion))
	if !sb.inherited || wait <= 0 {
		e.report("remove container", now.Name, e.deleteContainer(sb, now))
		return
	}
	e.goTask(func(ctx context.Context) {
		if sleep(ctx, wait); ctx.Err() == nil {
			e.removeIfEnded(sb, now)
		}
	})
}

// removeIfEnded removes a container unless it was started anew, or removed,
// since it ended as now says.
func (e *Engine) removeIfEnded(sb *sandbox, now *record) {
	sb.op.Lock()
	defer sb.op.Unlock()
	e.mu.Lock()
	same := sb.now == now
	e.mu.Unlock()
	if same {
		e.report("remove container", now.Name, e.deleteContainer(sb, now))
	}
}

// stopped is a container's record after its end.
func stopped(now *record, exit kernel.Exit) *record {
	next := &record{SandboxStatus: catenet.SandboxStatus{Sandbox: now.Sandbox}}
	next.State, next.ExitCode, next.Finished = catenet.StateExited, exit.Code, exit.Finished
	next.InitPID, next.NetnsPath, next.Warnings = 0, "", nil
	return next
}

// deleteContainer forgets a container that does not run. One whose record
// cannot be erased stays, for it would be back at the next start, and with its
// addresses. sb.op is held.
func (e *Engine) deleteContainer(sb *sandbox, now *record) error {
	if err := e.unrecordContainer(now.ID); err != nil {
		return fmt.Errorf("remove container %s: %w", now.Name, err)
	}
	err := e.eraseFolders(now.ID)
	e.locked(func() {
		e.unreserve(now, nil)
		sb.exit = now.ExitCode
		closeOnce(sb.ended)
	})
	e.forget(sb)
	e.tell("sandbox", "destroy", now.ID, "name", now.Name, "owner", string(now.Owner))
	return err
}

// eraseContainer removes a container's record, log and run folder.
func (e *Engine) eraseContainer(id string) error {
	return errors.Join(e.unrecordContainer(id), e.eraseFolders(id))
}

func (e *Engine) unrecordContainer(id string) error {
	return e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Delete(kindContainer, id) })
}

func (e *Engine) eraseFolders(id string) error {
	return errors.Join(removeAll(filepath.Dir(e.logPath(id))), removeAll(e.processDir(id)))
}

// closeOnce closes a channel that may be closed. The engine's mu is held.
func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// keepContainer records what outlives the machine's restart of a container of
// our own. Other sandboxes have no such side.
func (e *Engine) keepContainer(r *record) error { return e.putContainer(r, false) }

// putContainer is keepContainer; pending says that the container has not been
// promised to anybody yet.
func (e *Engine) putContainer(r *record, pending bool) error {
	if r.Owner != catenet.OwnerRun {
		return nil
	}
	err := e.o.Store.Update(store.Durable, func(tx *store.Tx) error {
		return tx.Put(kindContainer, r.ID, containerEntry{Sandbox: r.Sandbox, Pending: pending})
	})
	if err != nil {
		return fmt.Errorf("record container %s: %w", r.Name, err)
	}
	return nil
}
