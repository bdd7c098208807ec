package main

import (
	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) inspect() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "inspect NAME...",
		Short: "Show containers",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := refs("container", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return inspectAll(c, &f, args, func(ref string) (catenet.SandboxStatus, error) { return cl.Sandbox(cmd.Context(), ref) })
		},
	}
	f.formatFlag(cmd)
	return cmd
}
