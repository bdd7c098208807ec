package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// transition takes a sandbox from its present record to the next, and undoes
// what it did if a step fails. now is nil for a new sandbox and equal to next
// to put right what may be wrong (restore, repair): every step is idempotent.
// next belongs to the caller until transition returns: it fills in the host
// ports and the resolver's port. sb.op is held.
func (e *Engine) transition(ctx context.Context, sb *sandbox, now, next *record) (err error) {
	var u undo
	var ns *kernel.Namespace
	defer func() { ns.Close() }() // after the undo, which works in it
	defer u.unless(&err)
	if now != next {
		if err = e.hold(ctx, sb, now, next, &u); err != nil {
			return err
		}
	}
	if now == nil || now.State != catenet.StateRunning {
		e.placeFiles(next)
	}
	if !next.networked() {
		if err = e.writeFiles(next, &u); err != nil || now == next {
			return err
		}
		return e.commit(sb, next)
	}
	if err = e.settleFor(ctx, next); err != nil {
		return err
	}
	if ns, err = e.open(next); err != nil {
		return err
	}
	if err = e.furnish(ctx, sb, now, next, ns, &u); err != nil {
		return err
	}
	if now == nil {
		if err = e.layFiles(ctx, next, &u); err != nil {
			return err
		}
	}
	if err = e.publish(ctx, now, next, &u); err != nil {
		return err
	}
	if err = e.name(ctx, sb, now, next, &u); err != nil {
		return err
	}
	if now != next {
		if err = e.commit(sb, next); err != nil {
			return err
		}
		e.drop(sb, now, next)
	}
	return nil
}

// intend records where a sandbox is going, before the kernel changes.
func (e *Engine) intend(sb *sandbox, now, next *record, u *undo) error {
	if err := e.keep(sb.id, sandboxEntry{Now: now, Next: next}); err != nil {
		return err
	}
	u.add(func() {
		if err := e.keep(sb.id, sandboxEntry{Now: now}); err != nil {
			e.log.Error("take back intent; the next start will", "container", next.Name, "err", err)
		}
	})
	return nil
}

// commit records that next is what the sandbox has now.
func (e *Engine) commit(sb *sandbox, next *record) error {
	if err := e.keep(sb.id, sandboxEntry{Now: next}); err != nil {
		return err
	}
	e.locked(func() {
		if sb.now != nil && sb.now.State == catenet.StateExited && next.State == catenet.StateRunning {
			sb.ended = make(chan struct{}) // nobody may take the last run's end for this one's
		}
		sb.now, sb.name = next, next.Name
	})
	return nil
}

// keep writes a live entry; an empty one is removed. Containers of ours that
// do not run have no live side.
func (e *Engine) keep(id string, entry sandboxEntry) error {
	live := func(r *record) bool { return r != nil && r.State == catenet.StateRunning }
	var leaving []catenet.Endpoint
	if entry.Next != nil {
		leaving = endpointsBut(entry.Now, entry.Next)
	}
	cursors := e.cursors(leaving)
	err := e.o.Store.Update(store.Live, func(tx *store.Tx) error {
		if !live(entry.Now) && !live(entry.Next) {
			return tx.Delete(kindSandbox, id)
		}
		if err := putCursors(tx, cursors); err != nil {
			return err
		}
		return tx.Put(kindSandbox, id, entry)
	})
	if err != nil {
		return fmt.Errorf("record container %s: %w", catenet.ShortID(id), err)
	}
	return nil
}

// open opens the sandbox's namespace and makes sure that it is still the one
// that joined. One that has not come yet is nil.
func (e *Engine) open(r *record) (*kernel.Namespace, error) {
	if r.expected() {
		return nil, nil
	}
	ns, err := e.o.Namespaces.Open(r.NetnsPath)
	if err != nil {
		return nil, fmt.Errorf("open namespace of %s: %w", r.Name, err)
	}
	if r.Target.Inode != 0 && ns.Inode != r.Target.Inode {
		ns.Close()
		return nil, catenet.NotFoundf("the namespace of %s is gone: %s is another one now", r.Name, r.NetnsPath)
	}
	return ns, nil
}

// furnish records where the sandbox is going and gives the namespace its
// resolver, files, links and addresses. The links, and what does not need
// them, are made side by side, which makes an attach a sixth shorter. The
// resolver's sockets end with us, and need not wait for the record.
func (e *Engine) furnish(ctx context.Context, sb *sandbox, now, next *record, ns *kernel.Namespace, u *undo) error {
	var aside undo
	var asideErr error
	view := next.clone() // the links' side fills in names meanwhile
	recorded := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ns == nil { // still to come
			return
		}
		if asideErr = e.serve(ctx, sb, view, ns, &aside); asideErr != nil {
			return
		}
		if asideErr = <-recorded; asideErr != nil {
			return
		}
		if asideErr = e.redirect(ctx, now, view, ns, &aside); asideErr != nil {
			return
		}
		if now != nil && now != next && now.State == catenet.StateRunning {
			aside.add(func() { e.report("take back files", now.Name, e.writeFiles(now, new(undo))) })
		}
		asideErr = e.writeFiles(view, &aside)
	}()
	var err error
	if now != next {
		err = e.intend(sb, now, next, u)
	}
	recorded <- err
	at := ns
	if next.Parked {
		at = nil
	}
	var outfit kernel.Outfit
	if err == nil {
		outfit, err = e.links(ctx, now, next, at, u)
	}
	<-done
	*u = append(*u, aside...)
	next.ResolverPort = view.ResolverPort
	if err == nil {
		err = asideErr
	}
	if err == nil && len(outfit.Interfaces) > 0 && at != nil {
		err = e.wear(ctx, now, next, ns, outfit)
	}
	return err
}

// links makes the links of endpoints that are new or whose routes change, and
// returns what is to be inside.
func (e *Engine) links(ctx context.Context, now, next *record, ns *kernel.Namespace, u *undo) (kernel.Outfit, error) {
	var outfit kernel.Outfit
	if eps := changing(now, next); len(eps) > 0 {
		u.add(func() { e.report("take back routes", next.Name, e.redress(context.WithoutCancel(ctx), eps, ns)) })
	}
	if err := e.part(ctx, ns, endpointsBut(now, next)); err != nil {
		return outfit, err
	}
	for _, ep := range leavers(now, next) {
		outfit.Interfaces = append(outfit.Interfaces, parting(ep))
	}
	for i := range next.Endpoints {
		if now != next && unchanged(now, next.Endpoints[i]) || now == next && e.isDown(next.Endpoints[i]) {
			continue
		}
		att, err := e.linkNamed(ctx, now, next, i, ns, u)
		if err != nil {
			return outfit, err
		}
		outfit.Interfaces = append(outfit.Interfaces, att.Interface)
	}
	losersFirst(&outfit)
	return outfit, nil
}

// leavers are the endpoints that leave and take a default route along.
func leavers(now, next *record) []catenet.Endpoint {
	return slices.DeleteFunc(endpointsBut(now, next), func(ep catenet.Endpoint) bool { return !ep.DefaultRoute4 && !ep.DefaultRoute6 })
}

// parting is what is left of an endpoint's inside until its link is buried:
// no routes.
func parting(ep catenet.Endpoint) kernel.Interface {
	i := kernel.Interface{Link: ep.Interface, Name: ep.Interface, Alias: kernel.Mark + ep.ID, NoIPv6: !ep.IPv6.IsValid()}
	for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
		if a.IsValid() {
			i.Addrs = append(i.Addrs, a)
		}
	}
	return i
}

// wear has the namespace dressed. An endpoint that leaves may have lost its
// link, and its default route with it.
func (e *Engine) wear(ctx context.Context, now, next *record, ns *kernel.Namespace, outfit kernel.Outfit) error {
	err := e.o.Host.Dress(ctx, ns, outfit)
	if left := leavers(now, next); catenet.IsNotFound(err) && len(left) > 0 {
		outfit.Interfaces = slices.DeleteFunc(outfit.Interfaces, func(i kernel.Interface) bool {
			return slices.ContainsFunc(left, func(ep catenet.Endpoint) bool { return i.Alias == kernel.Mark+ep.ID })
		})
		err = e.o.Host.Dress(ctx, ns, outfit)
	}
	if err != nil {
		return fmt.Errorf("dress namespace of %s: %w", next.Name, err)
	}
	return nil
}

// isDown reports whether an endpoint's network is not up; once it is, its
// endpoints are repaired.
func (e *Engine) isDown(ep catenet.Endpoint) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.networks[ep.NetworkID]
	return n != nil && n.down != nil
}

// unchanged reports whether an endpoint is just as it was.
func unchanged(now *record, ep catenet.Endpoint) bool {
	return now != nil && slices.ContainsFunc(now.Endpoints, func(old catenet.Endpoint) bool {
		return old.ID == ep.ID && old.DefaultRoute4 == ep.DefaultRoute4 && old.DefaultRoute6 == ep.DefaultRoute6
	})
}

// renames bounds how many interface names are tried in a namespace that has
// interfaces of somebody else's.
const renames = 16

// linkNamed makes the link of next.Endpoints[i]. Where a name that nobody
// asked for turns out to be taken inside, it takes the next one.
func (e *Engine) linkNamed(ctx context.Context, now, next *record, i int, ns *kernel.Namespace, u *undo) (driver.Attachment, error) {
	ep := &next.Endpoints[i]
	fresh := !now.has(ep.ID)
	att, err := e.link(ctx, *ep, ns)
	for try := 0; fresh && catenet.IsConflict(err) && ep.Spec.Interface == "" && ep.Spec.Options[catenet.OptionInterface] == "" && try < renames; try++ {
		ep.Interface = nextName(next, ep.Interface)
		att, err = e.link(ctx, *ep, ns)
	}
	if err != nil {
		return att, err
	}
	ep.HostLink = att.HostLink
	if ns == nil {
		ep.Parked = parked(att)
	}
	if fresh {
		dead := *ep
		u.add(func() {
			if err := e.unlink(context.WithoutCancel(ctx), driver.Place{NS: ns}, dead); err != nil {
				e.log.Error("take back link", "endpoint", catenet.ShortID(dead.ID), "err", err)
			}
		})
	}
	return att, nil
}

// nextName counts an interface name up to one that the record does not have.
func nextName(r *record, name string) string {
	prefix := name
	for len(prefix) > 0 && prefix[len(prefix)-1] >= '0' && prefix[len(prefix)-1] <= '9' {
		prefix = prefix[:len(prefix)-1]
	}
	for i := 0; ; i++ {
		next := fmt.Sprintf("%s%d", prefix, i)
		later := len(next) > len(name) || len(next) == len(name) && next > name
		if later && !slices.ContainsFunc(r.Endpoints, func(ep catenet.Endpoint) bool { return ep.Interface == next }) {
			return next
		}
	}
}

// link has the driver make an endpoint's link.
func (e *Engine) link(ctx context.Context, ep catenet.Endpoint, ns *kernel.Namespace) (driver.Attachment, error) {
	e.mu.Lock()
	n := e.networks[ep.NetworkID]
	e.mu.Unlock()
	if n == nil {
		return driver.Attachment{}, catenet.NotFoundf("network %s is gone", ep.Spec.Network)
	}
	att, err := n.driver.Link(ctx, e.o.Host, e.asItIs(n), ep, driver.Place{NS: ns})
	if err != nil {
		return att, fmt.Errorf("link to network %s: %w", ep.Spec.Network, err)
	}
	return att, nil
}

// publish opens the host's ports of next and closes those that it has no
// more, in one change of the firewall.
func (e *Engine) publish(ctx context.Context, now, next *record, u *undo) error {
	add, remove := bindingsDiff(now, next)
	if len(add) == 0 && len(remove) == 0 {
		return nil
	}
	// Before the attempt: one that fails may have done its first half.
	u.add(func() {
		if err := e.switchPorts(context.WithoutCancel(ctx), now, remove, next, add); err != nil {
			e.log.Error("take back ports", "container", next.Name, "err", err)
		}
	})
	return e.switchPorts(ctx, next, add, now, remove)
}

// switchPorts adds bindings of one record and removes bindings of another.
func (e *Engine) switchPorts(ctx context.Context, a *record, add []catenet.PortBinding, r *record, remove []catenet.PortBinding) error {
	var change firewall.Change
	var on, off []kernel.LoopbackPort
	var flows []kernel.Flow
	for _, b := range remove {
		change.RemovePorts = append(change.RemovePorts, r.firewallPort(b))
		flows = append(flows, r.flowsOf(b)...)
		if onLoopback(b) {
			off = append(off, r.loopbackPort(b))
		}
	}
	for _, b := range add {
		change.AddPorts = append(change.AddPorts, a.firewallPort(b))
		if onLoopback(b) {
			on = append(on, a.loopbackPort(b))
		}
	}
	if err := e.o.Firewall.Apply(ctx, change); err != nil {
		return fmt.Errorf("publish ports: %w", err)
	}
	if len(on)+len(off) > 0 {
		if err := e.o.Loopback.Set(ctx, on, off); err != nil {
			return fmt.Errorf("publish ports on loopback: %w", err)
		}
	}
	if len(flows) > 0 {
		if err := e.o.Flows.Forget(ctx, flows); err != nil {
			return fmt.Errorf("forget flows of closed ports: %w", err)
		}
	}
	return nil
}

// drop lets go of what now had and next has not, once next is committed.
func (e *Engine) drop(sb *sandbox, now, next *record) {
	gone := endpointsBut(now, next)
	e.locked(func() {
		for _, ep := range gone {
			e.release(ep, next)
		}
	})
	e.reaper.bury(next.Target.Inode, gone)
	_, closed := bindingsDiff(now, next)
	e.unhold(sb, closed, next)
}
