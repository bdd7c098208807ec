package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/api/docker"
)

func (c *cli) networkInspect() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "inspect NAME...",
		Short: "Show networks, in docker's words",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := refs("network", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return inspectAll(c, &f, args, func(ref string) (docker.Inspected, error) { return inspectNetwork(cmd.Context(), cl, ref) })
		},
	}
	f.formatFlag(cmd)
	return cmd
}

// inspectNetwork returns a network in docker's words.
func inspectNetwork(ctx context.Context, cl *client.Client, ref string) (docker.Inspected, error) {
	n, err := cl.Network(ctx, ref)
	if err != nil {
		return docker.Inspected{}, err
	}
	names := map[string]string{}
	if len(n.Endpoints) > 0 {
		sbs, err := cl.Sandboxes(ctx, true)
		if err != nil {
			return docker.Inspected{}, err
		}
		for _, sb := range sbs {
			names[sb.ID] = sb.Name
		}
	}
	return docker.Inspect(n, names), nil
}

// inspectAll shows what can be found, and tells of the rest.
func inspectAll[T any](c *cli, f *format, names []string, get func(string) (T, error)) error {
	var found []T
	var code error
	for _, name := range names {
		v, err := get(name)
		if err != nil {
			c.tell(err)
			code = exitError{1}
			continue
		}
		found = append(found, v)
	}
	if err := writeInspected(c.out, f, found); err != nil {
		return err
	}
	return code
}
