package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) stop() *cobra.Command {
	var seconds int
	cmd := &cobra.Command{
		Use:   "stop [-t SECONDS] NAME...",
		Short: "Ask containers to end, and end those that do not",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args...); err != nil {
				return err
			}
			if seconds < 0 {
				return usage(catenet.Invalidf("--time %d is negative", seconds))
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.each("stopping", args, func(name string) error {
				return cl.Stop(cmd.Context(), name, time.Duration(seconds)*time.Second)
			})
		},
	}
	cmd.Flags().IntVarP(&seconds, "time", "t", int(grace/time.Second), "`seconds` to wait before a container is killed")
	return cmd
}
