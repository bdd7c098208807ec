package engine

import (
	"context"
	"net/netip"
	"reflect"
	"slices"

	"github.com/catenet/catenet"
)

// UpdateSandbox changes what of a sandbox can be another, be it while it runs:
// its name, its aliases and its published ports. Links lead to names: those to
// the earlier name lead to whoever is called so from then on.
func (e *Engine) UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (st catenet.SandboxStatus, err error) {
	for _, p := range slices.Concat(up.Publish, up.Unpublish) {
		if err = p.Validate(); err != nil {
			return st, err
		}
	}
	sb, now, err := e.lockSandbox(ref)
	if err != nil {
		return st, err
	}
	defer sb.op.Unlock()
	next, err := e.amend(sb, now, up)
	defer e.locked(func() { sb.coming = "" })
	if err != nil || reflect.DeepEqual(now, next) {
		return now.status(), err
	}
	var u undo
	defer u.unless(&err)
	if err = e.keepAhead(now, next, &u); err != nil {
		return st, err
	}
	if now.State != catenet.StateRunning {
		e.locked(func() { sb.now, sb.name = next, next.Name })
	} else if err = e.transition(ctx, sb, now, next); err != nil {
		return st, err
	}
	if next.Name != now.Name {
		e.tell("sandbox", "rename", next.ID, "name", next.Name, "oldName", now.Name)
	}
	if len(up.Publish)+len(up.Unpublish)+len(up.Aliases) > 0 {
		e.tell("sandbox", "update", next.ID, "name", next.Name)
	}
	return next.status(), nil
}

// amend says what a sandbox is to be, before anything is touched. sb.op is
// held.
func (e *Engine) amend(sb *sandbox, now *record, up catenet.SandboxUpdate) (*record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := now.clone()
	if up.Name != nil && *up.Name != now.Name {
		if err := e.rename(sb, next, *up.Name); err != nil {
			return nil, err
		}
	}
	if up.RuntimeID != nil && *up.RuntimeID != now.RuntimeID {
		if err := validateRuntimeID(now.Owner, *up.RuntimeID); err != nil {
			return nil, err
		}
		next.RuntimeID = *up.RuntimeID
	}
	if err := e.realias(next, up.Aliases); err != nil {
		return nil, err
	}
	if len(up.Publish)+len(up.Unpublish) > 0 {
		if err := e.republish(now, next, up); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// rename gives a record another name, which is taken from then on. e.mu is
// held.
func (e *Engine) rename(sb *sandbox, next *record, name string) error {
	if err := catenet.ValidateName("container", name); err != nil {
		return err
	}
	if err := e.unclaimed(name); err != nil {
		return err
	}
	for _, spec := range next.Networks {
		for _, l := range spec.Links {
			if l.Container == name || e.leads(l.Container, name, make(map[string]bool)) {
				return catenet.Conflictf("container %s links to %s: of links in a circle none could start first", next.Name, name).
					WithHint("choose another name")
			}
		}
	}
	sb.coming, next.Name = name, name
	return nil
}

// realias replaces the aliases of endpoints, by network. e.mu is held.
func (e *Engine) realias(next *record, aliases map[string][]string) error {
	seen := make(map[string]bool)
	for ref, all := range aliases {
		n, err := e.network(ref)
		if err != nil {
			return err
		}
		if seen[n.ID] {
			return catenet.Invalidf("the aliases in network %s are given twice", n.Name)
		}
		seen[n.ID] = true
		i := slices.IndexFunc(next.Networks, func(s catenet.EndpointSpec) bool { return s.Network == n.Name })
		if i < 0 {
			return catenet.NotFoundf("container %s is not in network %s", next.Name, n.Name)
		}
		next.Networks[i].Aliases = all
		if err := checkEndpoint(next.Networks[i]); err != nil {
			return err
		}
		for i, ep := range next.Endpoints {
			if ep.NetworkID == n.ID {
				next.Endpoints[i].Spec.Aliases = all
			}
		}
	}
	return nil
}

// republish plans the bindings of next without some of now's ports and with
// others. e.mu is held.
func (e *Engine) republish(now, next *record, up catenet.SandboxUpdate) error {
	left, err := e.without(now, up.Unpublish)
	if err != nil {
		return err
	}
	ports := left.Ports
	// A port that -P has published stays when it is published once more.
	next.Ports, next.PublishAll = slices.Concat(ports, up.Publish), false
	plan := next
	if now.State != catenet.StateRunning {
		if len(up.Publish) == 0 {
			return nil
		}
		if plan, err = e.rehearse(next); err != nil {
			return err
		}
	}
	if err := e.bind(left, plan); err != nil {
		return err
	}
	for i := len(ports); i < len(plan.Ports); i++ {
		if plan.asks[i].bindings == 0 {
			return noWay(plan, plan.Ports[i])
		}
	}
	return checkTwice(plan.Bindings)
}

// without is a record without the ports that are to be closed, each of which
// there must be; those that -P has published are ports like others in it. e.mu
// is held.
func (e *Engine) without(now *record, closed []catenet.PortSpec) (*record, error) {
	dry := now.clone() // to know which bindings come of which port
	if now.State == catenet.StateRunning {
		if err := e.bind(now, dry); err != nil {
			return nil, err
		}
	}
	left := now.clone()
	left.Ports, left.Bindings = nil, nil
	found := make([]bool, len(closed))
	rest := dry.Bindings
	for i, p := range asks(now) {
		var bindings []catenet.PortBinding
		if i < len(dry.asks) {
			n := dry.asks[i].bindings
			bindings, rest = rest[:n], rest[n:]
		}
		gone := false
		for j, c := range closed {
			if means(c, p, bindings) {
				found[j], gone = true, true
			}
		}
		if !gone {
			left.Ports, left.Bindings = append(left.Ports, p), append(left.Bindings, bindings...)
		}
	}
	if i := slices.Index(found, false); i >= 0 {
		return nil, catenet.NotFoundf("container %s does not publish %s", now.Name, closed[i]).WithHint("catenet port %s shows what it does", now.Name)
	}
	return left, nil
}

// means reports whether what is to be closed is a port that was asked for, or
// one of the bindings that it has: a host address or port that is zero is any.
func means(closed, asked catenet.PortSpec, bindings []catenet.PortBinding) bool {
	at := func(ip netip.Addr, first, last uint16) bool {
		return (!closed.HostIP.IsValid() || closed.HostIP == ip) && (closed.HostPort == 0 || closed.HostPort <= first && last <= closed.HostPortEnd)
	}
	return closed.Proto == asked.Proto && closed.Port == asked.Port && (at(asked.HostIP, asked.HostPort, asked.HostPortEnd) ||
		slices.ContainsFunc(bindings, func(b catenet.PortBinding) bool { return at(b.HostIP, b.HostPort, b.HostPort) }))
}
