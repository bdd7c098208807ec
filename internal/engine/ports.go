package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// portTries bounds the search for a host port that is free in both families.
const portTries = 64

// bind plans the bindings of next: each asked port goes to the endpoints that
// give the sandbox its default routes, as with Docker. A binding that was
// there keeps its host port. Ports that are still to be chosen are 0. A port
// without a way in is an error for a new sandbox (now is nil), and a warning
// for one whose networks may have changed since. e.mu is held.
func (e *Engine) bind(now, next *record) error {
	asked := asks(next)
	next.Bindings, next.asks = nil, nil
	next.Warnings = slices.DeleteFunc(next.Warnings, func(s string) bool {
		return strings.HasPrefix(s, unpublished) || strings.HasPrefix(s, unmapped) || strings.HasPrefix(s, unrouted)
	})
	if len(asked) == 0 {
		return nil
	}
	if !next.networked() {
		return catenet.Invalidf("no ports can be published of a container in mode %q", next.Mode).
			WithHint("in mode host the container's ports are the host's already; else publish them of the container that has the networks")
	}
	var had []catenet.PortBinding // each is kept for one asked port
	if now != nil {
		had = slices.Clone(now.Bindings)
	}
	for i, p := range asked {
		before := len(next.Bindings)
		for _, ep := range next.Endpoints {
			n := e.networks[ep.NetworkID]
			for _, ip := range hostAddresses(p, n, ep) {
				if p.Proto == catenet.SCTP && ip.IsLoopback() {
					return noSCTP(p, ip)
				}
				b := catenet.PortBinding{Proto: p.Proto, HostIP: ip, Port: p.Port, EndpointID: ep.ID, SandboxID: next.ID}
				if n != nil && n.Gateway(ip.Is4()) == catenet.GatewayRouted {
					b.HostIP, b.Routed = unspecified(ip.Is4()), true
				} else {
					b.HostPort = kept(&had, p, ip)
				}
				next.Bindings = append(next.Bindings, b)
			}
		}
		next.asks = append(next.asks, ask{p, len(next.Bindings) - before})
		alike(next.Bindings[before:])
		next.Warnings = append(next.Warnings, unused(p, next.Bindings[before:])...)
		next.Warnings = append(next.Warnings, e.astray(p, next, next.Bindings[before:])...)
		if len(next.Bindings) > before || len(next.Endpoints) == 0 || i >= len(next.Ports) {
			continue // -P publishes what can be
		}
		if now == nil {
			return noWay(next, p)
		}
		next.Warnings = append(next.Warnings, unpublished+noWay(next, p).Error())
	}
	return nil
}

// checkPorts says which port of a container that is being made has no way in:
// bind does so for other new sandboxes. What a container's networks are at a
// later start is nothing that whoever starts it has asked for. e.mu is held.
func (e *Engine) checkPorts(r *record) error {
	dry, err := e.rehearse(r)
	if err != nil {
		return err
	}
	if err := e.bind(nil, dry); err != nil {
		return err
	}
	return checkTwice(dry.Bindings)
}

// rehearse is the record of a container that does not run as it may be when it
// does. e.mu is held.
func (e *Engine) rehearse(r *record) (*record, error) {
	dry := r.clone()
	for _, s := range r.Networks {
		n, err := e.network(s.Network)
		if err != nil {
			return nil, err
		}
		ep := catenet.Endpoint{ID: n.ID, NetworkID: n.ID, Spec: s}
		for _, p := range n.Pools {
			if p.Subnet.Addr().Is4() {
				ep.IPv4, ep.Gateway4 = p.Subnet, p.Gateway
			} else {
				ep.IPv6, ep.Gateway6 = p.Subnet, p.Gateway
			}
		}
		dry.Endpoints = append(dry.Endpoints, ep)
	}
	e.chooseDefaults(dry)
	return dry, nil
}

// asks are the ports that a sandbox wants published. What -p publishes, -P
// does not publish once more.
func asks(r *record) []catenet.PortSpec {
	all := slices.Clone(r.Ports)
	if !r.PublishAll {
		return all
	}
	for _, p := range r.Expose {
		if !slices.ContainsFunc(r.Ports, func(q catenet.PortSpec) bool { return q.Proto == p.Proto && q.Port == p.Port }) {
			all = append(all, p)
		}
	}
	return all
}

// alike gives all bindings of one asked port the number that one of them
// keeps.
func alike(group []catenet.PortBinding) {
	port := uint16(0)
	for _, b := range group {
		port = max(port, b.HostPort)
	}
	for i := range group {
		if mapped(group[i]) {
			group[i].HostPort = port
		}
	}
}

// mapped reports whether a binding has a port of the host.
func mapped(b catenet.PortBinding) bool { return !b.Routed }

func unspecified(four bool) netip.Addr {
	if four {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// hostAddresses returns the host addresses that a port is published on by way
// of one endpoint.
func hostAddresses(p catenet.PortSpec, n *network, ep catenet.Endpoint) (out []netip.Addr) {
	ip := p.HostIP
	if !ip.IsValid() && n != nil {
		// One address in place of all, so that no other family is open. (0.0.0.0
		// is all, of both, as with Docker.)
		if a, err := netip.ParseAddr(n.Options[catenet.OptionHostBinding]); err == nil && a != netip.IPv4Unspecified() {
			ip = a
		}
	}
	all := !ip.IsValid()
	if ep.DefaultRoute4 && all {
		out = append(out, netip.IPv4Unspecified())
	}
	if ep.DefaultRoute6 && all {
		out = append(out, netip.IPv6Unspecified())
	}
	if ep.DefaultRoute4 && ip.Is4() || ep.DefaultRoute6 && ip.Is6() {
		out = append(out, ip)
	}
	return out
}

// kept takes the host port that an asked one has already out of had; else it
// is the one asked for, or 0.
func kept(had *[]catenet.PortBinding, p catenet.PortSpec, ip netip.Addr) uint16 {
	for i, b := range *had {
		if b.Proto == p.Proto && b.Port == p.Port && b.HostIP == ip && inRange(p, b.HostPort) {
			*had = slices.Delete(*had, i, i+1)
			return b.HostPort
		}
	}
	if p.HostPort == p.HostPortEnd {
		return p.HostPort
	}
	return 0
}

func inRange(p catenet.PortSpec, port uint16) bool {
	return p.HostPort == 0 || p.HostPort <= port && port <= p.HostPortEnd
}

// ask is a port as it was asked for, and how many bindings come of it.
type ask struct {
	catenet.PortSpec
	bindings int
}

// hold binds every host port that next has and now has not, and chooses those
// that are 0: one number for all bindings of the same asked port. sb.op is
// held.
func (e *Engine) hold(ctx context.Context, sb *sandbox, now, next *record, u *undo) error {
	if err := checkTwice(next.Bindings); err != nil {
		return err
	}
	rest := next.Bindings
	for _, a := range next.asks {
		if a.bindings == 0 {
			continue
		}
		if err := e.holdGroup(ctx, sb, now, next, rest[:a.bindings], a.PortSpec, u); err != nil {
			return err
		}
		rest = rest[a.bindings:]
	}
	return nil
}

// checkTwice refuses a request of which two bindings want the same host port.
func checkTwice(bindings []catenet.PortBinding) error {
	type port struct {
		proto  catenet.Proto
		number uint16
		four   bool
	}
	seen := make(map[port][]catenet.PortBinding)
	for _, b := range bindings {
		if b.HostPort == 0 {
			continue
		}
		at := port{b.Proto, b.HostPort, b.HostIP.Is4()}
		for _, other := range seen[at] {
			if overlap(b, other) {
				return catenet.Conflictf("host port %d/%s on %s is asked for twice", b.HostPort, b.Proto, b.HostIP).
					WithHint("publish each host port once, on all addresses or on some; one container port may have several")
			}
		}
		seen[at] = append(seen[at], b)
	}
	return nil
}

// overlap reports whether two bindings want the same host port.
func overlap(a, b catenet.PortBinding) bool {
	return a.Proto == b.Proto && a.HostPort == b.HostPort && (a.HostIP == b.HostIP ||
		a.HostIP.Is4() == b.HostIP.Is4() && (a.HostIP.IsUnspecified() || b.HostIP.IsUnspecified()))
}

// holdAgain takes the ports of a sandbox that lives on. One that somebody else
// took while no daemon was there is an error, and the others are held.
func (e *Engine) holdAgain(ctx context.Context, sb *sandbox, r *record) error {
	if r.PortsHeld {
		return nil
	}
	var errs []error
	var unheld []catenet.PortBinding
	defer func() { e.setUnheld(sb.id, unheld) }()
	for _, b := range r.Bindings {
		if _, ok := sb.held[keyOf(b)]; ok || b.Routed {
			continue
		}
		h, err := e.o.Sockets.Hold(ctx, kernel.HeldPort{Proto: string(b.Proto), IP: b.HostIP, Port: b.HostPort})
		switch {
		case err == nil:
			sb.held[keyOf(b)] = h
		case !catenet.IsUnsupported(err): // that was said when the port was published
			unheld = append(unheld, b)
			errs = append(errs, fmt.Errorf("hold published port %s again (its traffic still goes to the container): %w", b, err))
		}
	}
	return errors.Join(errs...)
}

// setUnheld says which of a sandbox's ports are its own and not held.
func (e *Engine) setUnheld(id string, bindings []catenet.PortBinding) {
	e.locked(func() {
		if len(bindings) == 0 {
			delete(e.unheld, id)
		} else {
			e.unheld[id] = bindings
		}
	})
}

// holdGroup holds the families of one asked port under one number.
func (e *Engine) holdGroup(ctx context.Context, sb *sandbox, now, next *record, group []catenet.PortBinding, ask catenet.PortSpec, u *undo) error {
	first := slices.IndexFunc(group, mapped)
	if first < 0 {
		return nil
	}
	if port := group[first].HostPort; port != 0 {
		return e.holdAt(ctx, sb, now, next, group, port, u)
	}
	lo, hi := ask.HostPort, ask.HostPortEnd
	var err error
	if lo == 0 {
		for range portTries {
			if err = e.holdAt(ctx, sb, now, next, group, 0, u); !catenet.IsConflict(err) {
				return err
			}
		}
		return err
	}
	for port := int(lo); port <= int(hi); port++ {
		if err = e.holdAt(ctx, sb, now, next, group, uint16(port), u); !catenet.IsConflict(err) {
			return err
		}
	}
	return catenet.Conflictf("every port from %d to %d/%s is taken", lo, hi, group[0].Proto).WithHint("ask for another range, or for any port: -p %d", group[0].Port)
}

// holdAt holds all of a group at one port; 0 lets the kernel choose for the
// first. All or none. What now has stays, also where it could not be held.
func (e *Engine) holdAt(ctx context.Context, sb *sandbox, now, next *record, group []catenet.PortBinding, port uint16, u *undo) (err error) {
	var mine undo
	defer mine.unless(&err)
	for i := range group {
		b := &group[i]
		if b.Routed {
			continue
		}
		old := *b
		b.HostPort = port
		if _, held := sb.held[keyOf(*b)]; port != 0 && (held || hasBinding(now, keyOf(*b))) {
			if old.HostPort == port {
				continue // kept
			}
			*b = old
			return catenet.Conflictf("host port %d/%s is this container's already", port, b.Proto)
		}
		h, err := e.take(ctx, b, next)
		if err != nil {
			*b = old
			return err
		}
		port = b.HostPort
		if h == nil {
			continue
		}
		key := keyOf(*b)
		sb.held[key] = h
		back := func() {
			b.HostPort = old.HostPort
			delete(sb.held, key)
			if err := h.Close(); err != nil {
				e.log.Error("let go of port", "port", key.at, "err", err)
			}
		}
		mine.add(back)
		u.add(func() {
			if sb.held[key] == h {
				back()
			}
		})
	}
	return nil
}

// take holds the host port of one binding of next, and chooses it if it is 0.
// One that is somebody else's to hold (SandboxSpec.PortsHeld), or that cannot be
// held, as this kernel lacks the protocol, is nil: then our own records tell who
// of us has it, and next warns of the latter.
func (e *Engine) take(ctx context.Context, b *catenet.PortBinding, next *record) (kernel.Held, error) {
	if next.PortsHeld {
		return nil, e.takeUnheld(b, next)
	}
	h, err := e.o.Sockets.Hold(ctx, kernel.HeldPort{Proto: string(b.Proto), IP: b.HostIP, Port: b.HostPort})
	switch {
	case err == nil:
		b.HostPort = h.Port()
		if err := e.unpublished(*b, e.unheldBindings()); err != nil {
			return nil, errors.Join(err, h.Close())
		}
		return h, nil
	case !catenet.IsUnsupported(err):
		return nil, err
	}
	if err := e.takeUnheld(b, next); err != nil {
		return nil, err
	}
	next.Warnings = append(next.Warnings, fmt.Sprintf("port %d/%s is not held on the host: %v", b.HostPort, b.Proto, err))
	return nil, nil
}

// takeUnheld is take by our records alone.
func (e *Engine) takeUnheld(b *catenet.PortBinding, next *record) error {
	if b.HostPort == 0 {
		b.HostPort = anyPort()
	}
	return cmp.Or(e.unpublished(*b, e.allBindings()), checkTwice(next.Bindings))
}

// anyPort is one of those that nobody is given by number (RFC 6335, section 6).
func anyPort() uint16 { return 49152 + rand.N[uint16](16384) }

// allBindings are those of all sandboxes.
func (e *Engine) allBindings() (all []catenet.PortBinding) {
	for _, r := range e.records() {
		all = append(all, r.Bindings...)
	}
	return all
}

// unheldBindings are those that no socket of ours keeps others from: most of
// the time none.
func (e *Engine) unheldBindings() (all []catenet.PortBinding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, bindings := range e.unheld {
		all = append(all, bindings...)
	}
	for _, sb := range e.sandboxes {
		if sb.now != nil && sb.now.PortsHeld {
			all = append(all, sb.now.Bindings...)
		}
	}
	return all
}

// unpublished checks that no other sandbox has a binding's host port among
// those given.
func (e *Engine) unpublished(b catenet.PortBinding, among []catenet.PortBinding) error {
	for _, other := range among {
		if other.SandboxID == b.SandboxID || !overlap(b, other) {
			continue
		}
		by := catenet.ShortID(other.SandboxID)
		if r, err := e.record(other.SandboxID); err == nil {
			by = r.Name
		}
		return catenet.Conflictf("port %d/%s on %s is taken by container %s", b.HostPort, b.Proto, b.HostIP, by).
			WithHint("publish another host port, or stop that container")
	}
	return nil
}

// unhold lets go of ports that next does not have.
func (e *Engine) unhold(sb *sandbox, closed []catenet.PortBinding, next *record) {
	e.locked(func() {
		e.unheld[sb.id] = slices.DeleteFunc(e.unheld[sb.id], func(b catenet.PortBinding) bool { return !hasBinding(next, keyOf(b)) })
		if len(e.unheld[sb.id]) == 0 {
			delete(e.unheld, sb.id)
		}
	})
	for _, b := range closed {
		key := keyOf(b)
		h := sb.held[key]
		if h == nil || hasBinding(next, key) {
			continue
		}
		delete(sb.held, key)
		if err := h.Close(); err != nil {
			e.log.Error("let go of port", "port", key.at, "err", err)
		}
	}
}

func hasBinding(r *record, key portKey) bool {
	return r != nil && slices.ContainsFunc(r.Bindings, func(b catenet.PortBinding) bool { return keyOf(b) == key })
}
