package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) networkRm() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [-f] NAME...",
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
			return c.each("removing", args, func(name string) error {
				warnings, err := cl.RemoveNetwork(cmd.Context(), name)
				for _, w := range warnings {
					fmt.Fprintf(c.err, "catenet: warning: %s\n", w)
				}
				if force && catenet.IsNotFound(err) {
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "a network that is not there is no error")
	return cmd
}
