package main

import (
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

// updateFlags are those of network update.
type updateFlags struct {
	poolFlags
	addLabels, dropLabels []string
	addDNS, dropDNS       []string
	mtu                   int
	name                  string
	aside, notAside       []string
	options               []string
}

func (c *cli) networkUpdate() *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update [flags] NETWORK",
		Short: "Change a network while its containers run",
		Long: `Change a network while its containers run: they keep their addresses and their
connections. What is as asked already is no change.

The name, labels, name servers and the MTU can be changed, and subnets added:
containers that join get addresses of them when the earlier ones are full. What
is set aside of a subnet is given to nobody unasked. Of a driver's options the
peers of a routed network can be changed: all that there are to be are named.
Everything else is settled when a network is made.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("network", args[0]); err != nil {
				return err
			}
			up, err := f.update()
			if err == nil && reflect.ValueOf(up).IsZero() {
				err = catenet.Invalidf("nothing is to be changed").WithHint("see %s --help", cmd.CommandPath())
			}
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			n, warnings, err := cl.UpdateNetwork(cmd.Context(), args[0], up)
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(c.err, "catenet: warning: %s\n", w)
			}
			fmt.Fprintln(c.out, n.Name)
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usage(catenet.Invalidf("%w", err).
			WithHint("the name, labels, DNS servers, the MTU, peers and what is set aside can be changed, and subnets added; the rest of a network stays as it was made"))
	})
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "another `name`")
	fl.StringArrayVarP(&f.options, "opt", "o", nil, "option of the driver to change, `KEY=VALUE`: peers=CIDR=GATEWAY,… of a routed network")
	fl.StringArrayVar(&f.aside, "set-aside", nil, "`range` to set aside, FIRST-LAST: somebody else chooses from it")
	fl.StringArrayVar(&f.notAside, "set-aside-rm", nil, "`range` that is set aside no more")
	fl.StringArrayVar(&f.addLabels, "label-add", nil, "label to add or change, `KEY=VALUE`")
	fl.StringArrayVar(&f.dropLabels, "label-rm", nil, "label to remove, `KEY`")
	fl.StringSliceVar(&f.addDNS, "dns-add", nil, "DNS `server` to add, for names nobody here knows")
	fl.StringSliceVar(&f.dropDNS, "dns-rm", nil, "DNS `server` to remove")
	fl.IntVar(&f.mtu, "mtu", 0, "MTU of all its links, in bytes")
	f.add(fl, "`subnet` to add, for what the earlier ones have no room for")
	return cmd
}

// update makes what is asked for of the flags.
func (f *updateFlags) update() (up catenet.NetworkUpdate, err error) {
	if f.mtu < 0 {
		return up, catenet.Invalidf("--mtu %d is no number of bytes", f.mtu)
	}
	up.MTU, up.DropLabels, up.Name = f.mtu, f.dropLabels, f.name
	if f.name != "" {
		if err := catenet.ValidateName("network", f.name); err != nil {
			return up, err
		}
	}
	if up.AddSetAside, err = readAll(f.aside, catenet.ParseRange); err != nil {
		return up, err
	}
	if up.DropSetAside, err = readAll(f.notAside, catenet.ParseRange); err != nil {
		return up, err
	}
	if up.Options, err = keyValues("opt", f.options); err != nil {
		return up, err
	}
	if up.AddLabels, err = labels("--label-add", f.addLabels); err != nil {
		return up, err
	}
	if up.AddDNS, err = servers("--dns-add", f.addDNS); err != nil {
		return up, err
	}
	if up.DropDNS, err = servers("--dns-rm", f.dropDNS); err != nil {
		return up, err
	}
	up.AddPools, err = f.pools()
	return up, err
}
