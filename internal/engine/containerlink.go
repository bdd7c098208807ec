package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/names"
)

// A link is as good as its target's names: while those are known in the link's
// network, the one that links has an answer for the alias, a line in its
// /etc/hosts and, without icc, the way to the target's ports. All of it is
// worked out anew from whose names are known (sandbox.named) whenever those of
// either change, by one at a time (Engine.linking).

// linked is a link as it stands.
type linked struct {
	catenet.Link
	from   catenet.Endpoint
	to     catenet.Endpoint // zero if it leads nowhere
	target *record          // nil if it leads nowhere
}

// linksOf are a record's links. e.mu is held.
func (e *Engine) linksOf(r *record) (out []linked) {
	for _, from := range r.Endpoints {
		for _, l := range from.Spec.Links {
			stands := linked{Link: l, from: from}
			if sb := e.called(l.Container); sb != nil {
				if to, ok := sb.named.endpoint(from.NetworkID); ok {
					stands.to, stands.target = to, sb.named
				}
			}
			out = append(out, stands)
		}
	}
	return out
}

// called returns the sandbox of that very name, or nil. e.mu is held.
func (e *Engine) called(name string) *sandbox {
	for _, sb := range e.sandboxes {
		if sb.name == name {
			return sb
		}
	}
	return nil
}

// links reports whether the record links to the container of that name, or
// with "" to any.
func (r *record) links(to string) bool {
	return r != nil && slices.ContainsFunc(r.Endpoints, func(ep catenet.Endpoint) bool {
		return slices.ContainsFunc(ep.Spec.Links, func(l catenet.Link) bool { return to == "" || l.Container == to })
	})
}

// relink makes a sandbox's names those of r, with nil none, as far as links go:
// its own, and those of others to it by the name that it had and the one it has.
func (e *Engine) relink(ctx context.Context, sb *sandbox, r *record) error {
	e.linking.Lock()
	defer e.linking.Unlock()
	var was string
	var others []*sandbox
	e.locked(func() {
		was = sb.name
		if sb.named = r; r != nil {
			sb.name = r.Name
		}
		e.noteLinks(sb)
		for _, other := range e.linkers {
			if other != sb && (other.named.links(was) || other.named.links(sb.name)) {
				others = append(others, other)
			}
		}
	})
	for _, other := range others {
		if err := e.tie(context.WithoutCancel(ctx), other); err != nil {
			e.log.Error("renew links; trying again", "to", was, "err", err)
			e.goTask(func(ctx context.Context) { e.repairSandbox(ctx, other) })
		}
	}
	return e.tie(ctx, sb)
}

// noteLinks keeps e.linkers. e.mu is held.
func (e *Engine) noteLinks(sb *sandbox) {
	if sb.named.links("") {
		e.linkers[sb.id] = sb
	} else {
		delete(e.linkers, sb.id)
	}
}

// tie has a sandbox see what its links lead to, and nothing else. e.linking is
// held.
func (e *Engine) tie(ctx context.Context, sb *sandbox) error {
	var r *record
	var open map[firewall.Link]bool
	var name string
	e.locked(func() { r, name, open = sb.named, sb.name, e.opened(sb.named) })
	var errs []error
	if r != nil {
		e.o.Names.Update(e.view(r))
		if r.links("") && slices.Contains(r.EtcFiles, "hosts") {
			errs = append(errs, names.WriteInPlace(filepath.Join(r.Etc, "hosts"), e.content(r, "hosts")))
		}
	}
	if err := errors.Join(append(errs, e.switchLinks(ctx, sb, open))...); err != nil {
		return fmt.Errorf("make links of %s: %w", name, err)
	}
	return nil
}

// opened are the ways that a record's links open where there is no other.
// e.mu is held.
func (e *Engine) opened(r *record) map[firewall.Link]bool {
	open := make(map[firewall.Link]bool)
	if r == nil {
		return open
	}
	for _, l := range e.linksOf(r) {
		n := e.networks[l.from.NetworkID]
		if l.target == nil || n == nil || !slices.ContainsFunc(n.state.Firewall, func(f firewall.Network) bool { return f.NoICC }) {
			continue
		}
		for _, p := range exposed(l.target) {
			for from, to := range map[netip.Addr]netip.Addr{l.from.IPv4.Addr(): l.to.IPv4.Addr(), l.from.IPv6.Addr(): l.to.IPv6.Addr()} {
				if from.IsValid() && to.IsValid() {
					open[firewall.Link{Proto: p.Proto, From: from, To: netip.AddrPortFrom(to, p.Port)}] = true
				}
			}
		}
	}
	return open
}

// switchLinks opens these ways for a sandbox, and closes the others that it
// has. What was begun on those does not go on: the address may be another's
// soon. e.linking is held.
func (e *Engine) switchLinks(ctx context.Context, sb *sandbox, open map[firewall.Link]bool) error {
	var c firewall.Change
	for l := range open {
		if !sb.open[l] {
			c.AddLinks = append(c.AddLinks, l)
		}
	}
	var flows []kernel.Flow
	for l := range sb.open {
		if !open[l] {
			c.RemoveLinks = append(c.RemoveLinks, l)
			flow := direct(l.Proto, l.To)
			flow.From = l.From
			flows = append(flows, flow)
		}
	}
	if len(c.AddLinks)+len(c.RemoveLinks) == 0 {
		return nil
	}
	if err := e.o.Firewall.Apply(ctx, c); err != nil {
		return err
	}
	sb.open = open
	if len(flows) == 0 {
		return nil
	}
	if err := e.o.Flows.Forget(ctx, flows); err != nil {
		return fmt.Errorf("forget flows of closed links: %w", err)
	}
	return nil
}
