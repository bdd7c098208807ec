package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) ps() *cobra.Command {
	var f format
	var all bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List containers",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			sbs, err := cl.Sandboxes(cmd.Context(), all)
			if err != nil {
				return err
			}
			header := []string{"CONTAINER ID", "NAME", "OWNER", "STATUS", "NETWORKS", "IP", "PORTS"}
			linked := slices.ContainsFunc(sbs, func(sb catenet.SandboxStatus) bool { return linksCell(sb, nil) != "" })
			if linked {
				header = append(header, "LINKS")
			}
			return list(c.out, &f, sbs, func(sb catenet.SandboxStatus) string { return f.id(sb.ID) },
				header,
				func(sb catenet.SandboxStatus) []string {
					cells := []string{f.id(sb.ID), sb.Name, string(sb.Owner), status(sb), networksCell(sb, sbs), strings.Join(addresses(sb.Endpoints), ", "), portCell(sb)}
					if linked {
						cells = append(cells, linksCell(sb, sbs))
					}
					return cells
				})
		},
	}
	f.listFlags(cmd, "print only IDs")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those that do not run")
	return cmd
}

// networksCell names the networks of a sandbox: where it is, or where it will
// be when it runs. all are those by whose names a guest's host is called.
func networksCell(sb catenet.SandboxStatus, all []catenet.SandboxStatus) string {
	if to, ok := strings.CutPrefix(sb.Mode, catenet.ModeContainer); ok {
		for _, other := range all {
			if other.ID == to {
				return catenet.ModeContainer + other.Name
			}
		}
		return catenet.ModeContainer + catenet.ShortID(to)
	}
	if sb.Mode != "" {
		return sb.Mode
	}
	var names []string
	for _, ep := range sb.Endpoints {
		names = append(names, ep.Spec.Network)
	}
	if names == nil {
		for _, ep := range sb.Networks {
			names = append(names, ep.Network)
		}
	}
	return strings.Join(names, ", ")
}

// linksCell tells a sandbox's links, and of one that runs which lead nowhere:
// their targets are not among all, or not in the network.
func linksCell(sb catenet.SandboxStatus, all []catenet.SandboxStatus) string {
	var cells []string
	for _, spec := range sb.Networks {
		for _, l := range spec.Links {
			lives := slices.ContainsFunc(all, func(to catenet.SandboxStatus) bool {
				return to.Name == l.Container && slices.ContainsFunc(to.Endpoints, func(ep catenet.Endpoint) bool { return ep.Spec.Network == spec.Network })
			})
			cell := l.String()
			if !lives && sb.State == catenet.StateRunning {
				cell += " (dead)"
			}
			cells = append(cells, cell)
		}
	}
	return strings.Join(cells, ", ")
}

func addresses(eps []catenet.Endpoint) []string {
	var out []string
	for _, ep := range eps {
		if ep.IPv4.IsValid() {
			out = append(out, ep.IPv4.Addr().String())
		}
		if ep.IPv6.IsValid() {
			out = append(out, ep.IPv6.Addr().String())
		}
	}
	return out
}
