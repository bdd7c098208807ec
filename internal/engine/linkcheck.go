package engine

import (
	"github.com/catenet/catenet"
)

// checkLinks checks whom a container is to link to in the networks of specs,
// and puts their names in place of what was given. What starts needs them
// running, and in that network: its environment tells where they are.
func (e *Engine) checkLinks(name string, specs []catenet.EndpointSpec, starts bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, spec := range specs {
		var links []catenet.Link
		for _, l := range spec.Links {
			sb, err := e.sandbox(l.Container)
			if l.Container == name || err == nil && sb.name == name {
				return catenet.Invalidf("container %s cannot link to itself", name).WithHint("it knows itself by its own name, and by --network-alias")
			}
			if err != nil {
				return catenet.Errorf(catenet.KindOf(err), "link to %s: %w", l.Container, err).
					WithHint("a container links to one that is there: run it first, with --name %s", l.Container)
			}
			l.Container = sb.name
			if e.leads(sb.name, name, make(map[string]bool)) {
				return catenet.Conflictf("container %s links to %s already: of links in a circle none could start first", sb.name, name).
					WithHint("leave one out: containers of one network know each other by name, and by --network-alias")
			}
			if starts {
				if err := e.reachable(name, spec.Network, sb); err != nil {
					return err
				}
			}
			links = append(links, l)
		}
		specs[i].Links = links
	}
	return nil
}

// reachable checks that a container that is linked to runs, and is in the
// network. e.mu is held.
func (e *Engine) reachable(name, network string, target *sandbox) error {
	if target.named == nil {
		return catenet.Conflictf("container %s, which %s links to, is not running", target.name, name).WithHint("catenet start %s first", target.name)
	}
	n, err := e.network(network)
	if err != nil {
		return err
	}
	if _, ok := target.named.endpoint(n.ID); !ok {
		return catenet.Conflictf("container %s, which %s links to, is not in network %s", target.name, name, n.Name).
			WithHint("catenet network connect %s %s first", n.Name, target.name)
	}
	return nil
}

// leads reports whether links lead from one container to another, by those
// that are not in seen. e.mu is held.
func (e *Engine) leads(from, to string, seen map[string]bool) bool {
	sb := e.called(from)
	if sb == nil || sb.now == nil || seen[from] {
		return false
	}
	seen[from] = true
	for _, spec := range sb.now.Networks {
		for _, l := range spec.Links {
			if l.Container == to || e.leads(l.Container, to, seen) {
				return true
			}
		}
	}
	return false
}
