package engine

import (
	"context"
	"net"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// A parked sandbox is one whose namespace somebody else makes and furnishes:
//
//	expected ─► its links wait on the host, its names and ports are known
//	come     ─► they are inside, whoever took them; lookups are led to us
//	gone     ─► detached, as any other
//
// What is inside is never ours to repair, but for the redirect of lookups.

// expected reports whether the namespace has not come yet.
func (r *record) expected() bool { return r.Parked && r.Target.Inode == 0 }

// expect takes the path at which a namespace is to come; no other sandbox's is.
func (e *Engine) expect(r *record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, other := range e.sandboxes {
		if other.now != nil && other.now.State == catenet.StateRunning && other.now.NetnsPath == r.Netns {
			return catenet.Conflictf("%s is attached already, as %s", r.Netns, other.name).
				WithHint("catenet network connect NETWORK %s joins it to one more network", other.name)
		}
	}
	r.NetnsPath, r.Target = r.Netns, kernel.Target{Path: r.Netns}
	return nil
}

// parked is what the inside of an endpoint is to be, for whoever furnishes it.
func parked(att driver.Attachment) *catenet.Parked {
	p := &catenet.Parked{Link: att.Interface.Link}
	for _, r := range att.Interface.Routes {
		if r.Dst.Bits() != 0 {
			p.Routes = append(p.Routes, catenet.Route{Dst: r.Dst, Gateway: r.Gateway, Metric: r.Metric})
		}
	}
	return p
}

// await waits for the namespace of a sandbox, and leads its lookups to us.
func (e *Engine) await(ctx context.Context, sb *sandbox, r *record) {
	for ctx.Err() == nil {
		err := e.o.Namespaces.Come(ctx, r.NetnsPath)
		if err == nil {
			err = e.arrived(ctx, sb)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		e.log.Error("take up namespace; trying again", "container", r.Name, "path", r.NetnsPath, "err", err)
		sleep(ctx, rewatch)
	}
}

// arrived goes on with a sandbox whose namespace has come.
func (e *Engine) arrived(ctx context.Context, sb *sandbox) error {
	sb.op.Lock()
	defer sb.op.Unlock()
	var now *record
	e.locked(func() { now = sb.now })
	if now == nil || !now.expected() || ctx.Err() != nil {
		return nil // it was removed meanwhile
	}
	next := now.clone()
	ns, err := e.o.Namespaces.Open(now.NetnsPath)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := e.strange(sb, ns); err != nil {
		return err
	}
	if next.Target, err = e.o.Namespaces.Target(now.NetnsPath, ns.Inode); err != nil {
		return err
	}
	if err := e.transition(context.WithoutCancel(ctx), sb, now, next); err != nil {
		return err
	}
	e.watch(sb, next)
	return nil
}

// standAside takes the redirect of lookups out of the namespaces in which
// somebody else answers too: while no daemon runs, he does.
func (e *Engine) standAside(ctx context.Context) {
	for _, r := range e.records() {
		if r.Parked && r.State == catenet.StateRunning {
			ns, err := e.open(r)
			if err == nil && ns != nil {
				err = e.unredirect(ctx, ns)
			}
			ns.Close()
			e.report("leave lookups to others", r.Name, err)
		}
	}
}

// beside dials who else answers lookups in the namespace at a path.
type beside struct {
	e    *Engine
	path string
}

func (b beside) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	ns, err := b.e.o.Namespaces.Open(b.path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return b.e.o.Sockets.DialIn(ctx, ns, network)
}
