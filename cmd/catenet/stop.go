package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
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
				return stop(cmd.Context(), cl, name, time.Duration(seconds)*time.Second)
			})
		},
	}
	cmd.Flags().IntVarP(&seconds, "time", "t", int(grace/time.Second), "`seconds` to wait before a container is killed")
	return cmd
}

// stop stops a container. A daemon that goes meanwhile is asked again once it is
// back, with the time that is left by then.
func stop(ctx context.Context, cl *client.Client, name string, grace time.Duration) error {
	late := time.Now().Add(grace)
	sb, err := cl.Sandbox(ctx, name) // not to wait for a daemon that was never there
	if err != nil {
		return err
	}
	return reunite(ctx, func(func()) error {
		err := cl.Stop(ctx, sb.ID, max(0, time.Until(late)))
		if catenet.IsNotFound(err) {
			return nil // it has removed itself at its end
		}
		return err
	})
}
