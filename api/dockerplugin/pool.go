package dockerplugin

import (
	"context"
	"net/netip"
	"strings"

	"github.com/catenet/catenet"
)

// addressSpace is the only one: the pools of this host.
const addressSpace = "catenet"

// typeGateway as the value of keyAddressType asks for the gateway.
const (
	keyAddressType = "RequestAddressType"
	typeGateway    = "com.docker.network.gateway"
)

type poolRequest struct {
	AddressSpace, Pool, SubPool string
	Options                     map[string]string
	V6                          bool
}

type poolReply struct {
	PoolID, Pool string
	Data         map[string]string
}

type addressRequest struct {
	PoolID, Address string
	Options         map[string]string
}

type addressReply struct {
	Address string // with the subnet's length
	Data    map[string]string
}

// requestPool claims a subnet, or names one of a network that exists. dockerd
// that finds a chosen one overlapping keeps it and asks again: as it is claimed,
// the next is another.
func (p *Plugin) requestPool(ctx context.Context, q poolRequest) (any, error) {
	if q.AddressSpace != addressSpace {
		return nil, catenet.Invalidf("there is no address space %q", q.AddressSpace).WithHint("the only one is %q", addressSpace)
	}
	var ask catenet.Pool
	for _, part := range []struct {
		text string
		into *netip.Prefix
	}{{q.Pool, &ask.Subnet}, {q.SubPool, &ask.Range}} {
		if part.text == "" {
			continue
		}
		subnet, err := subnetOf(part.text)
		if err != nil {
			return nil, err
		}
		*part.into = subnet
	}
	if ask.Range.IsValid() && !ask.Subnet.IsValid() {
		return nil, catenet.Invalidf("the range %s is of no subnet", ask.Range).WithHint("name its --subnet too")
	}
	if name := q.Options[optionNetwork]; name != "" {
		return p.poolOfNetwork(ctx, name, ask, q.V6)
	}
	c, err := p.o.Engine.ClaimPool(ctx, ask, q.V6)
	if err != nil {
		return nil, err
	}
	return poolReply{c.Subnet.String(), c.Subnet.String(), map[string]string{}}, nil
}

// poolOfNetwork names a subnet of a network that exists. dockerd wants to be asked
// for it: one that it finds in use, and was not told of, it rejects, and asks again
// for ever.
func (p *Plugin) poolOfNetwork(ctx context.Context, name string, ask catenet.Pool, v6 bool) (any, error) {
	n, err := p.o.Engine.Network(ctx, name)
	if err != nil {
		return nil, err
	}
	var hint []string
	for _, pool := range n.Pools {
		if pool.Subnet.Addr().Is6() != v6 {
			continue
		}
		hint = append(hint, "--subnet "+pool.Subnet.String())
		switch {
		case pool.Subnet != ask.Subnet:
		case ask.Range.IsValid() && ask.Range != pool.Range:
			return nil, catenet.Invalidf("what network %s hands out of %s is settled", n.Name, pool.Subnet).WithHint("leave --ip-range out")
		default:
			return poolReply{pool.Subnet.String(), pool.Subnet.String(), map[string]string{}}, nil
		}
	}
	if ask.Subnet.IsValid() || len(hint) == 0 {
		return nil, catenet.Invalidf("network %s has no such subnet", n.Name).WithHint("catenet network inspect %s shows those there are", n.Name)
	}
	return nil, catenet.Invalidf("dockerd has to be told the subnet of network %s", n.Name).WithHint("add %s", strings.Join(hint, " or "))
}

func (p *Plugin) releasePool(ctx context.Context, q addressRequest) (any, error) {
	subnet, err := subnetOf(q.PoolID)
	if err != nil {
		return empty{}, nil //nolint:nilerr // never one of ours
	}
	return empty{}, p.o.Engine.ReleasePool(ctx, subnet)
}

func (p *Plugin) requestAddress(ctx context.Context, q addressRequest) (any, error) {
	subnet, err := subnetOf(q.PoolID)
	if err != nil {
		return nil, err
	}
	var want netip.Addr
	if q.Address != "" {
		if want, err = addressOf(q.Address); err != nil {
			return nil, err
		}
	}
	a, err := p.lease(ctx, subnet, want, q.Options[keyAddressType] == typeGateway)
	if catenet.IsNotFound(err) { // a claim of which nothing was leased ends with the daemon
		if _, err = p.o.Engine.ClaimPool(ctx, catenet.Pool{Subnet: subnet}, subnet.Addr().Is6()); err == nil {
			a, err = p.lease(ctx, subnet, want, q.Options[keyAddressType] == typeGateway)
		}
	}
	if err != nil {
		return nil, err
	}
	return addressReply{netip.PrefixFrom(a, subnet.Bits()).String(), map[string]string{}}, nil
}

func (p *Plugin) lease(ctx context.Context, subnet netip.Prefix, want netip.Addr, gateway bool) (netip.Addr, error) {
	if gateway {
		return p.o.Engine.LeaseGateway(ctx, subnet, want)
	}
	l, err := p.o.Engine.LeaseAddress(ctx, catenet.Lease{Subnet: subnet, Address: want})
	return l.Address, err
}

func (p *Plugin) releaseAddress(ctx context.Context, q addressRequest) (any, error) {
	subnet, err := subnetOf(q.PoolID)
	if err != nil {
		return empty{}, nil //nolint:nilerr // never one of ours
	}
	a, err := addressOf(q.Address)
	if err != nil {
		return empty{}, nil //nolint:nilerr // never one of ours
	}
	return empty{}, p.o.Engine.ReleaseAddress(ctx, subnet, a)
}

func subnetOf(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, catenet.Invalidf("%q is no subnet", text)
	}
	return p.Masked(), nil
}
