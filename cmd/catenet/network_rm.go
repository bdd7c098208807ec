package main

import "github.com/spf13/cobra"

func (c *cli) networkRm() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove networks",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("network", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error { return cl.RemoveNetwork(cmd.Context(), name) })
		},
	}
}
