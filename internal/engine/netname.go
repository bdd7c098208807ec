package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/catenet/catenet"
)

// A network is known by its name in the records of its containers, and those of
// our own that do not run know it by nothing else. A network that is renamed
// goes by both names (network.was), on record too, until all of them say the new
// one: a daemon that dies in between goes on at its next start.

// free returns an error if a network's name is taken. e.mu is held.
func (e *Engine) free(name string) error {
	for _, n := range e.networks {
		if n.Name == name || n.coming.name == name || n.was == name {
			return catenet.Conflictf("network %s exists already", name).
				WithHint("catenet network inspect %s shows it; choose another name, or remove it first", name)
		}
	}
	return nil
}

// named finds a network, and what it is called.
func (e *Engine) named(ref string) (*network, string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(ref)
	if err != nil {
		return nil, "", err
	}
	return n, n.Name, nil
}

// validateNetworkName checks the name that a network is to have.
func validateNetworkName(name string) error {
	if err := catenet.ValidateName("network", name); err != nil {
		return err
	}
	if slices.Contains([]string{catenet.NetworkBridge, catenet.NetworkHost, catenet.NetworkNone, "default", "container"}, name) {
		return catenet.Forbiddenf("the name %q is predefined", name).WithHint("choose another name")
	}
	return nil
}

// call gives a network's next description another name, which is taken from
// then on. e.mu is held.
func (e *Engine) call(n *network, next *catenet.Network, name string) error {
	if name == "" || name == n.Name {
		return nil
	}
	if n.Predefined {
		return catenet.Forbiddenf("network %s is predefined and cannot be renamed", n.Name)
	}
	if err := validateNetworkName(name); err != nil {
		return err
	}
	if err := e.free(name); err != nil {
		return err
	}
	n.coming.name, next.Name = name, name
	return nil
}

// rewrite has all records call a network as it is called now, and forgets its
// earlier name. The network's op is held, or nobody else is there yet.
func (e *Engine) rewrite(n *network) error {
	var all []*sandbox
	var name, was string
	e.locked(func() {
		name, was = n.Name, n.was
		for _, sb := range e.sandboxes {
			all = append(all, sb)
		}
	})
	if was == "" {
		return nil
	}
	var errs []error
	for _, sb := range all {
		errs = append(errs, e.rewriteOne(sb, n.ID, was, name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rename network %s in the records of its containers, which is tried on by the next update or start: %w", name, err)
	}
	e.locked(func() { n.was = "" })
	return e.keepNetwork(networkEntry{Network: e.asItIs(n)})
}

// rewriteOne is rewrite for one sandbox.
func (e *Engine) rewriteOne(sb *sandbox, id, was, name string) error {
	sb.op.Lock()
	defer sb.op.Unlock()
	var now *record
	e.locked(func() { now = sb.now })
	if now == nil {
		return nil
	}
	next, changed := now.clone(), false
	for i, s := range next.Networks {
		if s.Network == was {
			next.Networks[i].Network, changed = name, true
		}
	}
	for i, ep := range next.Endpoints {
		if ep.NetworkID == id && ep.Spec.Network != name {
			next.Endpoints[i].Spec.Network, changed = name, true
		}
	}
	if !changed {
		return nil
	}
	if err := e.keepContainer(next); err != nil {
		return err
	}
	if err := e.keep(sb.id, sandboxEntry{Now: next}); err != nil {
		return err
	}
	e.locked(func() {
		if sb.now = next; sb.named != nil {
			sb.named = next
		}
	})
	return nil
}
