package main

import "github.com/spf13/cobra"

func (c *cli) start() *cobra.Command {
	return &cobra.Command{
		Use:   "start NAME...",
		Short: "Start containers that have ended",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.each("starting", args, func(name string) error { return cl.Start(cmd.Context(), name) })
		},
	}
}
