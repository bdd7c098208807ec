package main

import (
	"maps"
	"slices"
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
			if f.tmpl != nil {
				return list(c.out, &f, networkRows(&f, ns), nil, []string{"NETWORK ID"}, nil)
			}
			return list(c.out, &f, ns, func(n catenet.NetworkStatus) string { return f.id(n.ID) },
				[]string{"NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNETS"},
				func(n catenet.NetworkStatus) []string {
					return []string{f.id(n.ID), n.Name, n.Driver, catenet.ScopeLocal, subnets(n.Network)}
				})
		},
	}
	f.listFlags(cmd, "print only IDs")
	cmd.Flags().StringArrayVarP(&filters, "filter", "f", nil, "`KEY=VALUE`: dangling=true|false, driver=…, id=…, label=…, name=…, scope=local, type=builtin|custom")
	return cmd
}

// networkRow is a network as templates see it: by the names that docker's have,
// and some more of what the API tells.
type networkRow struct {
	ID, Name, Driver, Scope string
	IPv4, IPv6, Internal    bool
	Labels                  string // KEY=VALUE, separated by commas
	CreatedAt               string
	Pools, Use, Endpoints   any // as shape shows them
	Part, Peers             any // of a network of several hosts
	Trouble                 string

	labels map[string]string
}

// Label returns the value of one label.
func (r networkRow) Label(key string) string { return r.labels[key] }

func networkRows(f *format, ns []catenet.NetworkStatus) []networkRow {
	rows := make([]networkRow, len(ns))
	for i, n := range ns {
		rows[i] = networkRow{
			ID: f.id(n.ID), Name: n.Name, Driver: n.Driver, Scope: catenet.ScopeLocal,
			IPv4: !n.DisableIPv4, IPv6: n.IPv6, Internal: n.Internal, CreatedAt: n.Created.String(),
			Pools: shape(n.Pools), Use: shape(n.Use), Endpoints: shape(n.Endpoints), labels: n.Labels,
			Part: shape(n.Part), Peers: shape(n.Peers), Trouble: n.Trouble,
		}
		var labels []string
		for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
			labels = append(labels, k+"="+n.Labels[k])
		}
		rows[i].Labels = strings.Join(labels, ",")
	}
	return rows
}

func subnets(n catenet.Network) string {
	s := make([]string, len(n.Pools))
	for i, p := range n.Pools {
		s[i] = p.Subnet.String()
	}
	return strings.Join(s, ", ")
}
