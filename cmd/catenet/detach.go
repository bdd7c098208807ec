package main

import (
	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) detach() *cobra.Command {
	return &cobra.Command{
		Use:   "detach NAME...",
		Short: "Take attached namespaces out of their networks",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.each("detaching", args, func(name string) error {
				sb, err := cl.Sandbox(cmd.Context(), name)
				if err != nil {
					return err
				}
				if sb.Owner == catenet.OwnerRun {
					return catenet.Invalidf("%s was not attached", sb.Name).WithHint("remove it: catenet rm %s", sb.Name)
				}
				return cl.Remove(cmd.Context(), sb.ID, false)
			})
		},
	}
}
