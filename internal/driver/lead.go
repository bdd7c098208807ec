package driver

import (
	"context"
	"net/netip"
	"reflect"
	"slices"

	"github.com/catenet/catenet/internal/kernel"
)

// Lead makes want all that leads from this host to within, which is subnets of
// other hosts. What is right is not written again. links are the tunnels that want
// may go by. What is refused keeps nothing else.
func Lead(ctx context.Context, h kernel.Host, within []netip.Prefix, want []kernel.Reach, links ...string) error {
	have, err := h.Reached(ctx, links...)
	if err != nil {
		return err
	}
	have = slices.DeleteFunc(have, func(r kernel.Reach) bool {
		on := r.Subnet // of a neighbour without a route there is only the address
		if !on.IsValid() {
			on = netip.PrefixFrom(r.Via, r.Via.BitLen())
		}
		return !slices.ContainsFunc(within, on.Overlaps)
	})
	missing, extra := without(want, have), without(have, want)
	if len(missing)+len(extra) == 0 {
		return nil
	}
	return h.Reach(ctx, missing, extra)
}

// without returns those of all that others lack.
func without(all, others []kernel.Reach) (left []kernel.Reach) {
	known := make(map[netip.Prefix]kernel.Reach, len(others))
	for _, r := range others {
		if r.Subnet.IsValid() {
			known[r.Subnet] = r
		}
	}
	for _, r := range all {
		if other, ok := known[r.Subnet]; !ok || !reflect.DeepEqual(other, r) {
			left = append(left, r)
		}
	}
	return left
}
