package engine

import (
	"slices"

	"github.com/catenet/catenet"
)

// aimLinks puts the names of whom a container is to link to in place of what
// was given in specs, and checks that links may lead there. While they are on
// their way to its record, sandbox.aims holds them.
func (e *Engine) aimLinks(from *sandbox, specs []catenet.EndpointSpec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := from.name
	for i, spec := range specs {
		var links []catenet.Link
		for _, l := range spec.Links {
			sb, err := e.sandbox(l.Container)
			if l.Container == name || err == nil && sb.name == name {
				return catenet.Invalidf("container %s cannot link to itself", name).WithHint("it knows itself by its own name, and by --network-alias")
			}
			if err != nil {
				return noTarget(l.Container, err)
			}
			l.Container = sb.name
			if e.leads(sb.name, name, make(map[string]bool)) {
				return catenet.Conflictf("container %s links to %s already: of links in a circle none could start first", sb.name, name).
					WithHint("leave one out: containers of one network know each other by name, and by --network-alias")
			}
			links = append(links, l)
		}
		specs[i].Links = links
	}
	from.aims = specs
	return nil
}

func noTarget(name string, err error) error {
	return catenet.Errorf(catenet.KindOf(err), "link to %s: %w", name, err).
		WithHint("a container links to one that is there: run it first, with --name %s", name)
}

// checkLinks checks that whom a container links to runs, and is in the link's
// network: the environment of what starts tells where that is.
func (e *Engine) checkLinks(name string, specs []catenet.EndpointSpec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, spec := range specs {
		for _, l := range spec.Links {
			if err := e.reachable(name, spec.Network, l.Container); err != nil {
				return err
			}
		}
	}
	return nil
}

// reachable checks one link of checkLinks. e.mu is held.
func (e *Engine) reachable(name, network, target string) error {
	sb := e.called(target)
	if sb == nil {
		return noTarget(target, catenet.NotFoundf("there is no container %q", target))
	}
	if sb.named == nil {
		return catenet.Conflictf("container %s, which %s links to, is not running", target, name).WithHint("catenet start %s first", target)
	}
	n, err := e.network(network)
	if err != nil {
		return err
	}
	if _, ok := sb.named.endpoint(n.ID); !ok {
		return catenet.Conflictf("container %s, which %s links to, is not in network %s", target, name, n.Name).
			WithHint("catenet network connect %s %s first", n.Name, target)
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
	for _, spec := range slices.Concat(sb.now.Networks, sb.aims) {
		for _, l := range spec.Links {
			if l.Container == to || e.leads(l.Container, to, seen) {
				return true
			}
		}
	}
	return false
}
