package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

// createFlags are those of network create.
type createFlags struct {
	poolFlags
	driver                 string
	ipv4, ipv6, internal   bool
	attachable, configOnly bool
	configFrom             string
	options, labels, dns   []string
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
	f.add(fl, "subnet, like 10.1.0.0/16; several: the next one when the first is full (default: chosen by the daemon)")
	fl.BoolVar(&f.ipv4, "ipv4", true, "give IPv4 addresses")
	fl.BoolVar(&f.ipv6, "ipv6", false, "give IPv6 addresses")
	fl.BoolVar(&f.internal, "internal", false, "reach nothing outside the network")
	fl.BoolVar(&f.attachable, "attachable", false, "shown by inspect: any container can join every network")
	fl.BoolVar(&f.configOnly, "config-only", false, "hold settings for --config-from, and be no network")
	fl.StringVar(&f.configFrom, "config-from", "", "take subnets, options and labels from this config-only network")
	fl.StringArrayVarP(&f.options, "opt", "o", nil, "option of the driver, KEY=VALUE")
	fl.StringArrayVar(&f.labels, "label", nil, "label, KEY=VALUE")
	fl.StringArrayVar(&f.dns, "dns", nil, "DNS server for names nobody here knows, of containers that ask for none")
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
	if s.DNS, err = servers("--dns", f.dns); err != nil {
		return s, err
	}
	s.Pools, err = f.pools()
	for _, p := range s.Pools {
		s.IPv6 = s.IPv6 || p.Subnet.Addr().Is6()
	}
	return s, err
}
