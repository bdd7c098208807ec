package main

import (
	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) inspect() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "inspect NAME...",
		Short: "Show containers, or networks",
		Long: `Show containers; a name that no container has is looked for among the networks,
which are shown as network inspect does.`,
		Args: args(cobra.MinimumNArgs(1)),
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
			return inspectAll(c, &f, args, func(ref string) (any, error) {
				sb, err := cl.Sandbox(cmd.Context(), ref)
				if !catenet.IsNotFound(err) {
					return sb, err
				}
				n, err := inspectNetwork(cmd.Context(), cl, ref)
				if catenet.IsNotFound(err) {
					err = catenet.NotFoundf("there is no container and no network %q", ref).WithHint("catenet ps -a and catenet network ls show those there are")
				}
				return n, err
			})
		},
	}
	f.formatFlag(cmd)
	return cmd
}
