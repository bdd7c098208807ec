package main

import "github.com/spf13/cobra"

func (c *cli) rm() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [-f] NAME...",
		Short: "Remove containers",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.each("removing", args, func(name string) error { return cl.Remove(cmd.Context(), name, force) })
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also those that run")
	return cmd
}
