package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// changing are the endpoints of now that next has not or has with other
// default routes.
func changing(now, next *record) []catenet.Endpoint {
	if now == nil || now == next {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(now.Endpoints), func(ep catenet.Endpoint) bool { return unchanged(next, ep) })
}

// redress gives endpoints the routes back that a change has moved which then
// failed. The links that came with it are gone by now.
func (e *Engine) redress(ctx context.Context, eps []catenet.Endpoint, ns *kernel.Namespace) error {
	var outfit kernel.Outfit
	var errs []error
	for _, ep := range eps {
		att, err := e.link(ctx, ep, ns)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		outfit.Interfaces = append(outfit.Interfaces, att.Interface)
	}
	if ns == nil { // they are parked
		return errors.Join(errs...)
	}
	losersFirst(&outfit)
	return errors.Join(append(errs, e.o.Host.Dress(ctx, ns, outfit))...)
}

// losersFirst has an interface lose its default route before another gets it.
func losersFirst(o *kernel.Outfit) {
	defaults := func(i kernel.Interface) (n int) {
		for _, r := range i.Routes {
			if r.Dst.Bits() == 0 {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(o.Interfaces, func(a, b kernel.Interface) int { return defaults(a) - defaults(b) })
}
