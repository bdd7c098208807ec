package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) port() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "port NAME [PORT[/PROTO]]",
		Short: "List the published ports of a container",
		Args:  args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := refs("container", args[0]); err != nil {
				return err
			}
			var want *catenet.PortSpec
			if len(args) == 2 {
				specs, err := catenet.ParsePort(args[1])
				if err != nil || len(specs) != 1 || specs[0].HostPort != 0 {
					return usage(catenet.Invalidf("%q is no port of a container", args[1]).WithHint("it is written like 80 or 53/udp"))
				}
				want = &specs[0]
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			sb, err := cl.Sandbox(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printPorts(&f, sb, want)
		},
	}
	f.formatFlag(cmd)
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only the host's addresses and ports")
	return cmd
}

func (c *cli) printPorts(f *format, sb catenet.SandboxStatus, want *catenet.PortSpec) error {
	shown := 0
	for _, b := range sb.Bindings {
		if want != nil && (b.Port != want.Port || b.Proto != want.Proto) {
			continue
		}
		shown++
		switch {
		case f.quiet || f.asTable() && want != nil:
			fmt.Fprintln(c.out, b.Host())
		case f.asTable():
			fmt.Fprintln(c.out, b)
		default:
			if err := f.one(c.out, b); err != nil {
				return err
			}
		}
	}
	if want != nil && shown == 0 {
		return catenet.NotFoundf("container %s publishes no port %d/%s", sb.Name, want.Port, want.Proto)
	}
	return nil
}
