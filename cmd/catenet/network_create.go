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
	setAside, routes       []string
}

const networkCreateLong = `Create a network and print its ID.

A driver's options (-o) have Docker's names. Those of a bridge network, with
com.docker.network. before each:

  bridge.gateway_mode_ipv4, bridge.gateway_mode_ipv6
      nat (unless said otherwise): published ports are reached at the host's
      addresses; outside, containers are seen as the host.
      nat-unprotected: all ports of a container are reached at its own
      address too, but not from other networks.
      routed: nothing is translated; published ports, and no others, are
      reached at the container's own address. Routers have to know the way.
      isolated: an --internal network without any address of the host.
  bridge.trusted_host_interfaces=LINK[:LINK…]
      who comes by these links reaches published ports at the containers'
      own addresses
  host_ipv4=ADDR, host_ipv6=ADDR
      what containers are seen as outside
  bridge.inhibit_ipv4=true
      the gateway is not the host: the bridge gets no IPv4 address
  bridge.host_binding_ipv4=ADDR
      where ports are published that name no address
  bridge.enable_ip_masquerade, bridge.enable_icc, bridge.name, driver.mtu,
  container_iface_prefix

A network of several hosts (-d routed, -d flannel) has these too, and of its own:

  routed: peers=CIDR=GATEWAY,…
      the other hosts' subnets, and their addresses on the wire
  flannel: etcd=URL,… [prefix=PATH]
      where the network is registered; subnets come from there
  flannel: etcd-ca=FILE, etcd-cert=FILE, etcd-key=FILE, etcd-user=FILE
      how to get in; the last is a file with NAME:PASSWORD
  flannel: iface=LINK|ADDR, public-ip=ADDR, public-ipv6=ADDR
      the link that the other hosts are behind, and where they reach this one
  flannel: write-config=JSON
      the network's config, for a registry that has none
  flannel: subnet-file=PATH, ip-masq=true|false, bridge=none
      what is told to who makes containers of his own; none: only he does`

func (c *cli) networkCreate() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create [flags] NAME",
		Short: "Create a network and print its ID",
		Long:  networkCreateLong,
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
			var n catenet.Network
			var warnings []string
			err = c.during("making network "+spec.Name, func() (err error) { // etcd may be waited for
				n, warnings, err = cl.CreateNetwork(cmd.Context(), spec)
				return err
			})
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
	fl.StringVarP(&f.driver, "driver", "d", "bridge", "`driver`")
	f.add(fl, "`subnet`, like 10.1.0.0/16; several: the next one when the first is full (default: chosen by the daemon)")
	fl.BoolVar(&f.ipv4, "ipv4", true, "give IPv4 addresses")
	fl.BoolVar(&f.ipv6, "ipv6", false, "give IPv6 addresses")
	fl.BoolVar(&f.internal, "internal", false, "reach nothing outside the network")
	fl.BoolVar(&f.attachable, "attachable", false, "shown by inspect: any container can join every network")
	fl.BoolVar(&f.configOnly, "config-only", false, "hold settings for --config-from, and be no network")
	fl.StringVar(&f.configFrom, "config-from", "", "take subnets, options and labels from this config-only `network`")
	fl.StringArrayVarP(&f.options, "opt", "o", nil, "option of the driver, `KEY=VALUE`")
	fl.StringArrayVar(&f.labels, "label", nil, "label, `KEY=VALUE`")
	fl.StringArrayVar(&f.setAside, "set-aside", nil, "`range` of a subnet that addresses are never given from unasked, FIRST-LAST")
	fl.StringArrayVar(&f.routes, "route", nil, "static route of its containers, `DESTINATION,GATEWAY[,METRIC]`")
	fl.StringArrayVar(&f.dns, "dns", nil, "DNS `server` for names nobody here knows, of containers that ask for none")
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
	if s.Labels, err = labels("--label", f.labels); err != nil {
		return s, err
	}
	if s.DNS, err = servers("--dns", f.dns); err != nil {
		return s, err
	}
	if s.Routes, err = readAll(f.routes, catenet.ParseRoute); err != nil {
		return s, err
	}
	if s.Pools, err = f.pools(); err != nil {
		return s, err
	}
	aside, err := readAll(f.setAside, catenet.ParseRange)
	if err != nil {
		return s, err
	}
	for _, r := range aside {
		p, err := holder(s.Pools, "--set-aside", r.String(), r.First)
		if err != nil {
			return s, err
		}
		p.SetAside = append(p.SetAside, r)
	}
	for _, p := range s.Pools {
		s.IPv6 = s.IPv6 || p.Subnet.Addr().Is6()
	}
	return s, nil
}

// readAll reads every argument of a flag.
func readAll[T any](args []string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for _, arg := range args {
		v, err := parse(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}
