package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) info() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Describe the daemon and its host",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			info, err := cl.Info(cmd.Context())
			if err != nil {
				return err
			}
			if !f.asTable() {
				return f.one(c.out, info)
			}
			c.printInfo(info)
			return nil
		},
	}
	f.formatFlag(cmd)
	return cmd
}

func (c *cli) printInfo(i catenet.Info) {
	line := func(key, format string, args ...any) {
		fmt.Fprintf(c.out, "%-16s%s\n", key+":", fmt.Sprintf(format, args...))
	}
	line("Version", "%s", versionLine(i.Version))
	line("Host", "%s, kernel %s", i.Hostname, i.Kernel)
	line("Node", "%s", i.NodeID)
	line("Run folder", "%s", i.RunDir)
	line("State folder", "%s", i.StateDir)
	line("Drivers", "%s", strings.Join(i.Drivers, ", "))
	line("Networks", "%d", i.Networks)
	line("Containers", "%d, %d running", i.Sandboxes, i.Running)
	line("Endpoints", "%d", i.Endpoints)
	line("Ports", "%d, on loopback addresses by %s", i.Ports, i.Loopback)
	owner := "tables that others can flush"
	if i.Firewall.Owner {
		owner = "tables of our own that nobody else can flush"
	}
	line("Firewall", "%s, %s", i.Firewall.Backend, owner)
	up := make([]string, len(i.DNSUpstreams))
	for n, a := range i.DNSUpstreams {
		up[n] = a.String()
	}
	line("DNS upstreams", "%s", strings.Join(up, ", "))
	for _, o := range i.Obstacles {
		line("Obstacle", "%s", o.Rule)
		line("  remedy", "%s", o.Remedy)
	}
	for _, w := range i.Warnings {
		line("Warning", "%s", w)
	}
}
