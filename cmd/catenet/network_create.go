package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

// createFlags are those of network create.
type createFlags struct {
	driver                         string
	subnets, ranges, gateways, aux []string
	ipv4, ipv6, internal           bool
	attachable, configOnly         bool
	configFrom                     string
	options, labels                []string
}

func (c *cli) networkCreate() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create [flags] NAME",
		Short: "Create a network and print its ID",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := f.spec(args[0])
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			n, warnings, err := cl.CreateNetwork(cmd.Context(), spec)
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(c.err, "catenet: warning: %s\n", w)
			}
			fmt.Fprintln(c.out, n.ID)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.driver, "driver", "d", "bridge", "driver")
	fl.StringArrayVar(&f.subnets, "subnet", nil, "subnet, like 10.1.0.0/16 (default: chosen by the daemon)")
	fl.StringArrayVar(&f.ranges, "ip-range", nil, "part of the subnet that addresses are given from unasked")
	fl.StringArrayVar(&f.gateways, "gateway", nil, "address of the gateway")
	fl.StringArrayVar(&f.aux, "aux-address", nil, "address that others use, NAME=IP")
	fl.BoolVar(&f.ipv4, "ipv4", true, "give IPv4 addresses")
	fl.BoolVar(&f.ipv6, "ipv6", false, "give IPv6 addresses")
	fl.BoolVar(&f.internal, "internal", false, "reach nothing outside the network")
	fl.BoolVar(&f.attachable, "attachable", false, "shown by inspect: any container can join every network")
	fl.BoolVar(&f.configOnly, "config-only", false, "hold settings for --config-from, and be no network")
	fl.StringVar(&f.configFrom, "config-from", "", "take subnets, options and labels from this config-only network")
	fl.StringArrayVarP(&f.options, "opt", "o", nil, "option of the driver, KEY=VALUE")
	fl.StringArrayVar(&f.labels, "label", nil, "label, KEY=VALUE")
	return cmd
}

// spec makes what is asked for of the flags.
func (f *createFlags) spec(name string) (s catenet.NetworkSpec, err error) {
	s = catenet.NetworkSpec{Name: name, Driver: f.driver, DisableIPv4: !f.ipv4, IPv6: f.ipv6, Internal: f.internal,
		Attachable: f.attachable, ConfigOnly: f.configOnly, ConfigFrom: f.configFrom}
	if err := catenet.ValidateName("network", name); err != nil {
		return s, err
	}
	if s.Options, err = keyValues("opt", f.options); err != nil {
		return s, err
	}
	if s.Labels, err = labels(f.labels); err != nil {
		return s, err
	}
	for _, arg := range f.subnets {
		p, err := prefix("--subnet", arg)
		if err != nil {
			return s, err
		}
		s.Pools = append(s.Pools, catenet.Pool{Subnet: p})
		s.IPv6 = s.IPv6 || p.Addr().Is6()
	}
	return s, f.pools(s.Pools)
}

// pools puts ranges, gateways and auxiliary addresses into the subnets that
// hold them.
func (f *createFlags) pools(pools []catenet.Pool) error {
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
