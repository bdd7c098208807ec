package main

import (
	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) networkConnect() *cobra.Command {
	var e endpointFlags
	cmd := &cobra.Command{
		Use:   "connect [flags] NETWORK CONTAINER",
		Short: "Join a container to a network",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var spec catenet.EndpointSpec
			if err := e.apply(&spec); err != nil {
				return usage(err)
			}
			if err := refs("network", args[0]); err != nil {
				return err
			}
			if err := refs("container", args[1]); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			_, err = cl.Connect(cmd.Context(), args[0], args[1], spec)
			return err
		},
	}
	e.add(cmd, "alias")
	cmd.Flags().StringVar(&e.iface, "interface-name", "", "`name` of the interface inside (default: the first free ethN)")
	cmd.Flags().StringArrayVar(&e.options, "driver-opt", nil, "option of the driver, `KEY=VALUE`")
	return cmd
}
