package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// candidate is what a ref may mean.
type candidate struct {
	id, name string
	foreign  string // what others call it: its own runtime, or earlier records; "" if none does
}

// find resolves a ref: a full ID, a name, an unambiguous prefix of an ID, then
// what others call it and a prefix of that.
func find(what, ref string, each func(yield func(candidate) bool)) (string, error) {
	var exact string
	var found [4][]string // by rank: the lower is what is meant
	each(func(c candidate) bool {
		switch {
		case c.id == ref:
			exact = c.id
			return false
		case c.name == ref:
			found[0] = append(found[0], c.id)
		case ref != "" && strings.HasPrefix(c.id, ref):
			found[1] = append(found[1], c.id)
		case ref != "" && c.foreign == ref:
			found[2] = append(found[2], c.id)
		case ref != "" && strings.HasPrefix(c.foreign, ref):
			found[3] = append(found[3], c.id)
		}
		return true
	})
	if exact != "" {
		return exact, nil
	}
	for _, ids := range found {
		switch {
		case len(ids) == 1:
			return ids[0], nil
		case len(ids) > 1:
			return "", catenet.Invalidf("%q may be any of %d %ss", ref, len(ids), what).WithHint("use the name, or more of the ID")
		}
	}
	return "", catenet.NotFoundf("there is no %s %q", what, ref)
}

// network resolves a ref. e.mu is held.
func (e *Engine) network(ref string) (*network, error) {
	id, err := find("network", ref, func(yield func(candidate) bool) {
		for _, n := range e.networks {
			if n.ready && !n.removing && !yield(candidate{n.ID, n.Name, n.was}) {
				return
			}
		}
	})
	if err != nil {
		if catenet.IsNotFound(err) && ref == "default" { // as Docker calls it
			return e.network(catenet.NetworkBridge)
		}
		if catenet.IsNotFound(err) {
			err = catenet.NotFoundf("there is no network %q", ref).
				WithHint("catenet network ls shows those there are, catenet network create %s makes it", ref)
		}
		return nil, err
	}
	return e.networks[id], nil
}

// asItIs is a network's present description, which an update may change.
func (e *Engine) asItIs(n *network) catenet.Network {
	e.mu.Lock()
	defer e.mu.Unlock()
	return n.Network
}

// sandbox resolves a ref. e.mu is held.
func (e *Engine) sandbox(ref string) (*sandbox, error) {
	id, err := find("container", ref, func(yield func(candidate) bool) {
		for _, sb := range e.sandboxes {
			if sb.now != nil && !yield(candidate{sb.id, sb.name, sb.now.RuntimeID}) {
				return
			}
		}
	})
	if err != nil {
		if catenet.IsNotFound(err) {
			err = catenet.NotFoundf("there is no container %q", ref).WithHint("catenet ps -a shows those there are")
		}
		return nil, err
	}
	return e.sandboxes[id], nil
}

// lockSandbox finds a sandbox, takes its op lock and returns its present
// record.
func (e *Engine) lockSandbox(ref string) (*sandbox, *record, error) {
	e.mu.Lock()
	sb, err := e.sandbox(ref)
	e.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	sb.op.Lock()
	e.mu.Lock()
	now := sb.now
	e.mu.Unlock()
	if now == nil {
		sb.op.Unlock()
		return nil, nil, catenet.NotFoundf("there is no container %q: it has just been removed", ref)
	}
	return sb, now, nil
}

// record returns the present record of a ref.
func (e *Engine) record(ref string) (*record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sb, err := e.sandbox(ref)
	if err != nil {
		return nil, err
	}
	return sb.now, nil
}

// records returns all present records, newest first.
func (e *Engine) records() []*record {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*record, 0, len(e.sandboxes))
	for _, sb := range e.sandboxes {
		if sb.now != nil {
			all = append(all, sb.now)
		}
	}
	slices.SortFunc(all, func(a, b *record) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return all
}

// Sandboxes returns the running sandboxes, or all, newest first.
func (e *Engine) Sandboxes(_ context.Context, all bool) ([]catenet.SandboxStatus, error) {
	var out []catenet.SandboxStatus
	for _, r := range e.records() {
		if all || r.State == catenet.StateRunning {
			out = append(out, r.status())
		}
	}
	return out, nil
}

// Sandbox returns one sandbox.
func (e *Engine) Sandbox(_ context.Context, ref string) (catenet.SandboxStatus, error) {
	r, err := e.record(ref)
	if err != nil {
		return catenet.SandboxStatus{}, err
	}
	return r.status(), nil
}

// Endpoints returns the endpoints of all sandboxes, oldest first.
func (e *Engine) Endpoints(context.Context) ([]catenet.Endpoint, error) {
	var out []catenet.Endpoint
	for _, r := range e.records() {
		out = append(out, r.Endpoints...)
	}
	slices.SortFunc(out, oldestFirst)
	return out, nil
}

func oldestFirst(a, b catenet.Endpoint) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
}

// Ports returns all published ports, by host port.
func (e *Engine) Ports(context.Context) ([]catenet.PortBinding, error) {
	var out []catenet.PortBinding
	for _, r := range e.records() {
		out = append(out, r.Bindings...)
	}
	slices.SortFunc(out, func(a, b catenet.PortBinding) int {
		return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), strings.Compare(string(a.Proto), string(b.Proto)), a.HostIP.Compare(b.HostIP))
	})
	return out, nil
}
