package netavark

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// creation is what create reads in netavark 2. A plugin reads the network
// alone.
type creation struct {
	Network json.RawMessage `json:"network"`
	Used    struct {
		Interfaces []string          `json:"interfaces"`
		Names      map[string]string `json:"names"` // of networks, and their IDs
		Subnets    []netip.Prefix    `json:"subnets"`
	} `json:"used"`
	Options struct {
		Pools []struct {
			Base netip.Prefix `json:"base"`
			Size int          `json:"size"` // prefix length of the subnets
		} `json:"subnet_pools"`
		Prefix    string `json:"default_interface_name"` // of bridges' names
		CheckUsed bool   `json:"check_used_subnets"`
	} `json:"options"`
}

// definition makes a network, and returns Podman's definition of it: complete,
// and with what Podman is to choose addresses from.
func (f *Front) definition(ctx context.Context, stdin []byte) (json.RawMessage, error) {
	var c creation
	if err := read(stdin, &c); err != nil {
		return nil, err
	}
	if c.Network == nil {
		c.Network = stdin
	}
	var n Network
	if err := read(c.Network, &n); err != nil {
		return nil, err
	}
	if id, taken := c.Used.Names[n.Name]; taken {
		return nil, catenet.Conflictf("Podman has a network %s already, %.12s", n.Name, id).WithHint("choose another name")
	}
	have, tell, err := f.allot(ctx, &n, c)
	if err != nil {
		return nil, err
	}
	return redefine(c.Network, n.ID, func(out *Network) {
		out.Interface, out.IPv6, out.Subnets = n.Interface, have.IPv6, nil
		for _, p := range have.Pools {
			s := Subnet{Subnet: p.Subnet, Gateway: p.Gateway}
			if i := slices.IndexFunc(n.Subnets, func(s Subnet) bool { return s.Subnet.Masked() == p.Subnet }); i >= 0 {
				s.Lease = n.Subnets[i].Lease
			}
			out.Subnets = append(out.Subnets, s)
		}
		out.lease(tell)
	})
}

// allot makes the network of n, with a bridge's name and subnets of Podman's
// choosing where those are still to be chosen.
func (f *Front) allot(ctx context.Context, n *Network, c creation) (catenet.NetworkStatus, leases, error) {
	if n.Interface == "" && c.Options.Prefix != "" && n.Driver == "bridge" {
		n.Interface = unusedName(c.Options.Prefix, c.Used.Interfaces)
	}
	if c.Options.CheckUsed {
		for _, s := range n.Subnets {
			if i := slices.IndexFunc(c.Used.Subnets, s.Subnet.Overlaps); i >= 0 {
				return catenet.NetworkStatus{}, nil, catenet.Conflictf("the subnet %s is in use: %s", s.Subnet, c.Used.Subnets[i])
			}
		}
	}
	if len(n.Subnets) > 0 || len(c.Options.Pools) == 0 {
		return f.whole(ctx, *n)
	}
	err := error(catenet.Errorf(catenet.KindExhausted, "every subnet that Podman may choose for network %s is in use", n.Name))
	for subnet := range c.subnets() {
		n.Subnets = []Subnet{{Subnet: subnet, Gateway: subnet.Addr().Next()}}
		have, tell, failed := f.whole(ctx, *n)
		if !catenet.IsConflict(failed) {
			return have, tell, failed
		}
		err = failed
	}
	return catenet.NetworkStatus{}, nil, err
}

// whole makes a network, and shares all subnets that it has then: also those
// that the engine has chosen.
func (f *Front) whole(ctx context.Context, n Network) (have catenet.NetworkStatus, tell leases, err error) {
	if have, err = f.network(ctx, n); err != nil {
		return have, nil, err
	}
	for _, p := range have.Pools {
		if !slices.ContainsFunc(n.Subnets, func(s Subnet) bool { return s.Subnet.Masked() == p.Subnet }) {
			n.Subnets = append(n.Subnets, Subnet{Subnet: p.Subnet, Gateway: p.Gateway})
		}
	}
	tell, err = f.share(ctx, n, have)
	return have, tell, err
}

// subnets are those that Podman may choose and that nobody uses, a few thousand
// of each pool at the most.
func (c creation) subnets() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for _, pool := range c.Options.Pools {
			if !pool.Base.IsValid() || pool.Size < pool.Base.Bits() || pool.Size > pool.Base.Addr().BitLen() {
				continue
			}
			at := netip.PrefixFrom(pool.Base.Masked().Addr(), pool.Size)
			for range 4096 {
				if !at.IsValid() || !pool.Base.Contains(at.Addr()) {
					break
				}
				if !slices.ContainsFunc(c.Used.Subnets, at.Overlaps) && !yield(at) {
					return
				}
				at = netip.PrefixFrom(catenet.RangeOf(at).Last.Next(), pool.Size)
			}
		}
	}
}

// unusedName is the first name of a link with a prefix that is not used.
func unusedName(prefix string, used []string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s%d", prefix, i); !slices.Contains(used, name) {
			return name
		}
	}
}
