package engine

import (
	"context"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// part takes the links of endpoints out of a namespace that have no end on the
// host: by the host nobody would find them once they are not on record. So,
// other than those that the reaper buries, they go before that.
func (e *Engine) part(ctx context.Context, ns *kernel.Namespace, eps []catenet.Endpoint) error {
	eps = hidden(eps)
	if len(eps) == 0 {
		return nil
	}
	return e.unlink(ctx, driver.Place{NS: ns}, eps...)
}

// partFrom is part for endpoints in the namespace of a record, if that is
// still there.
func (e *Engine) partFrom(ctx context.Context, r *record, eps []catenet.Endpoint) error {
	if len(hidden(eps)) == 0 {
		return nil
	}
	ns, err := e.open(r)
	if catenet.IsNotFound(err) {
		return nil // it went, and took everything along
	}
	if err != nil || ns == nil {
		return err
	}
	defer ns.Close()
	return e.part(ctx, ns, eps)
}

// hidden are the endpoints without a link on the host. One that was to be
// linked when its record was written counts as such.
func hidden(eps []catenet.Endpoint) []catenet.Endpoint {
	return slices.DeleteFunc(slices.Clone(eps), func(ep catenet.Endpoint) bool { return ep.HostLink != "" })
}
