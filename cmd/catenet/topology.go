package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) topology() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Draw the networks and what is in them",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			info, err := cl.Info(cmd.Context())
			if err != nil {
				return err
			}
			networks, err := cl.Networks(cmd.Context())
			if err != nil {
				return err
			}
			sandboxes, err := cl.Sandboxes(cmd.Context(), true)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.out, draw(scene(info, networks, sandboxes, all)))
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also networks that nobody is in, and containers that do not run")
	return cmd
}
