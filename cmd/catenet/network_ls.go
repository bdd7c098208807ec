package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) networkLs() *cobra.Command {
	var f format
	var filters []string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := catenet.ParseFilter(filters, catenet.NetworkFilterKeys)
			if err != nil {
				return usage(err)
			}
			if err := f.check(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			ns, err := cl.NetworksBy(cmd.Context(), filter)
			if err != nil {
				return err
			}
			return list(c.out, &f, ns, func(n catenet.NetworkStatus) string { return f.id(n.ID) },
				[]string{"NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNETS"},
				func(n catenet.NetworkStatus) []string {
					return []string{f.id(n.ID), n.Name, n.Driver, catenet.ScopeLocal, subnets(n.Network)}
				})
		},
	}
	f.listFlags(cmd, "print only IDs")
	cmd.Flags().StringArrayVarP(&filters, "filter", "f", nil, "dangling=true|false, driver=…, id=…, label=…, name=…, scope=local, type=builtin|custom")
	return cmd
}

func subnets(n catenet.Network) string {
	s := make([]string, len(n.Pools))
	for i, p := range n.Pools {
		s[i] = p.Subnet.String()
	}
	return strings.Join(s, ", ")
}
