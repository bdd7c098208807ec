package main

import (
	"net/netip"
	"slices"

	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
)

// poolFlags are those that say which addresses a network is to have.
type poolFlags struct {
	subnets, ranges, gateways, aux []string
}

// add adds the flags; what says what a subnet is.
func (f *poolFlags) add(fl *pflag.FlagSet, what string) {
	fl.StringArrayVar(&f.subnets, "subnet", nil, what)
	fl.StringArrayVar(&f.ranges, "ip-range", nil, "`part` of the subnet that addresses are given from unasked")
	fl.StringArrayVar(&f.gateways, "gateway", nil, "`address` of the gateway")
	fl.StringArrayVar(&f.aux, "aux-address", nil, "address that others use, `NAME=IP`")
}

// pools puts ranges, gateways and auxiliary addresses into the subnets that
// hold them.
func (f *poolFlags) pools() (pools []catenet.Pool, err error) {
	for _, arg := range f.subnets {
		p, err := prefix("--subnet", arg)
		if err != nil {
			return nil, err
		}
		pools = append(pools, catenet.Pool{Subnet: p})
	}
	return pools, f.fill(pools)
}

// fill puts into pools what is asked for of them.
func (f *poolFlags) fill(pools []catenet.Pool) error {
	for _, arg := range f.ranges {
		r, err := prefix("--ip-range", arg)
		if err != nil {
			return err
		}
		p, err := holder(pools, "--ip-range", arg, r.Addr())
		if err != nil {
			return err
		}
		if p.Range.IsValid() || r.Bits() < p.Subnet.Bits() {
			return catenet.Invalidf("--ip-range %s: it is not the one part of %s", arg, p.Subnet)
		}
		p.Range = r
	}
	for _, arg := range f.gateways {
		a, err := address("--gateway", arg, 0)
		if err != nil {
			return err
		}
		p, err := holder(pools, "--gateway", arg, a)
		if err != nil {
			return err
		}
		if p.Gateway.IsValid() {
			return catenet.Invalidf("--gateway %s: %s has the gateway %s already", arg, p.Subnet, p.Gateway)
		}
		p.Gateway = a
	}
	aux, err := keyValues("aux-address", f.aux)
	if err != nil {
		return err
	}
	for name, arg := range aux {
		a, err := address("--aux-address", arg, 0)
		if err != nil {
			return err
		}
		p, err := holder(pools, "--aux-address", arg, a)
		if err != nil {
			return err
		}
		if p.Aux == nil {
			p.Aux = map[string]netip.Addr{}
		}
		p.Aux[name] = a
	}
	return nil
}

// holder returns the pool that holds a.
func holder(pools []catenet.Pool, flag, arg string, a netip.Addr) (*catenet.Pool, error) {
	i := slices.IndexFunc(pools, func(p catenet.Pool) bool { return p.Subnet.Contains(a) })
	if i < 0 {
		return nil, catenet.Invalidf("%s %s is in no --subnet", flag, arg).WithHint("give the --subnet that it belongs to")
	}
	return &pools[i], nil
}

// prefix reads a subnet, without host bits.
func prefix(flag, s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, catenet.Invalidf("%s %q is no subnet", flag, s).WithHint("it is written like 10.1.0.0/16 or fd00:1::/64")
	}
	if p.Addr().Is4In6() {
		return p, catenet.Invalidf("%s %s is IPv4 written as IPv6", flag, s).WithHint("write it as IPv4, like 10.1.0.0/16")
	}
	if p != p.Masked() {
		return p, catenet.Invalidf("%s %s is an address within a subnet", flag, s).WithHint("its subnet is %s", p.Masked())
	}
	return p, nil
}
