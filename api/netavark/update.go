package netavark

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// update sets the name servers behind the resolver of a network's containers.
// A network that is not here yet gets them from its definition.
func (f *Front) update(ctx context.Context, name string, servers []string) error {
	var want []netip.Addr
	for _, s := range strings.FieldsFunc(strings.Join(servers, ","), func(r rune) bool { return r == ',' }) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return catenet.Invalidf("the name server %q of network %s is no IP address", s, name)
		}
		want = append(want, a)
	}
	have, err := f.engine.Network(ctx, name)
	if catenet.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	drop := slices.DeleteFunc(slices.Clone(have.DNS), func(a netip.Addr) bool { return slices.Contains(want, a) })
	_, _, err = f.engine.UpdateNetwork(ctx, have.ID, catenet.NetworkUpdate{AddDNS: want, DropDNS: drop})
	return err
}
