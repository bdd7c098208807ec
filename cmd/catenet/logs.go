package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) logs() *cobra.Command {
	o := catenet.LogOptions{}
	var tail, since string
	var stamps bool
	cmd := &cobra.Command{
		Use:   "logs [flags] NAME",
		Short: "Show what a container wrote",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := refs("container", args[0]); err != nil {
				return err
			}
			if o.Tail, err = strconv.Atoi(tail); tail == "all" {
				o.Tail = -1
			} else if err != nil || o.Tail < 0 {
				return usage(catenet.Invalidf("--tail %q is no number of lines", tail))
			}
			if since != "" {
				if o.Since, err = catenet.ParseTime(since, now()); err != nil {
					return usage(fmt.Errorf("--since: %w", err))
				}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return cl.Logs(cmd.Context(), args[0], o, func() {}, c.copyLines(stamps))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
	f.StringVarP(&tail, "tail", "n", "all", "only the last so many `lines`")
	f.StringVar(&since, "since", "", "only what is newer: a duration like 10m, or a `time` like 2026-01-02T15:04:05Z")
	f.BoolVarP(&stamps, "timestamps", "t", false, "show when each line was written")
	return cmd
}
