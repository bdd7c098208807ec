package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/netavark"
)

func (c *cli) networkExport() *cobra.Command {
	var asked []string
	cmd := &cobra.Command{
		Use:   "export [--range FIRST-LAST]... podman NAME",
		Short: "Print a network as Podman defines it",
		Long: `Print a network as Podman defines it, for a file of that name in Podman's folder:

  catenet network export podman NAME >/etc/containers/networks/NAME.json

Podman's containers then join it with --network NAME. Podman chooses their
addresses itself, from a part of each subnet that is set aside for it: --range,
else what is set aside already, else one half.`,
		DisableFlagsInUseLine: true,
		Args:                  args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "podman" {
				return usage(catenet.Invalidf("there is no export for %q", args[0]).WithHint("there is one for podman"))
			}
			ranges, err := readAll(asked, catenet.ParseRange)
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			n, err := cl.Network(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			def, apart, err := netavark.Define(n, ranges)
			if err != nil {
				return err
			}
			if len(apart) > 0 {
				if _, _, err := cl.UpdateNetwork(cmd.Context(), n.ID, catenet.NetworkUpdate{AddSetAside: apart}); err != nil {
					return err
				}
			}
			text, err := json.MarshalIndent(def, "", "     ") // as Podman does
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s\n", text)
			return err
		},
	}
	cmd.Flags().StringArrayVar(&asked, "range", nil, "what Podman chooses from, `FIRST-LAST`; one for each subnet")
	return cmd
}
