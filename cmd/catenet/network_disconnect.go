package main

import "github.com/spf13/cobra"

func (c *cli) networkDisconnect() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [-f] NETWORK CONTAINER",
		Short: "Take a container out of a network",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
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
			return cl.Disconnect(cmd.Context(), args[0], args[1], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also where the container is not to be found, or its own runtime would not hear of it")
	return cmd
}
