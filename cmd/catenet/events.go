package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) events() *cobra.Command {
	var f format
	var filters []string
	var since string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := catenet.ParseFilter(filters, catenet.EventFilterKeys)
			if err != nil {
				return usage(err)
			}
			if err := f.check(); err != nil {
				return err
			}
			var from time.Time
			if since != "" {
				if from, err = catenet.ParseTime(since, now()); err != nil {
					return usage(fmt.Errorf("--since: %w", err))
				}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			ch, err := cl.Events(cmd.Context(), filter, from)
			if err != nil {
				return err
			}
			for e := range ch {
				if err := c.printEvent(&f, e); err != nil {
					return err
				}
			}
			return catenet.Errorf(catenet.KindUnavailable, "the daemon ended the events").WithHint("what happens from now on is not shown: ask again")
		},
	}
	f.listFlags(cmd, "print only IDs")
	f.lists = false // columns have no width before the end
	cmd.Flags().StringVar(&since, "since", "", "first what has happened since (the daemon remembers 256 events): a duration like 10m, or a `time` like 2026-01-02T15:04:05Z")
	cmd.Flags().StringArrayVarP(&filters, "filter", "f", nil, "`KEY=VALUE`: type=…, event=…, container=…, network=…")
	return cmd
}

func (c *cli) printEvent(f *format, e catenet.Event) error {
	switch {
	case f.quiet:
		fmt.Fprintln(c.out, f.id(e.ID))
		return nil
	case !f.asTable():
		return f.one(c.out, e)
	}
	attrs := make([]string, 0, len(e.Attributes))
	for _, k := range slices.Sorted(maps.Keys(e.Attributes)) {
		v := e.Attributes[k]
		if len(v) == 64 {
			v = f.id(v)
		}
		attrs = append(attrs, k+"="+v)
	}
	_, err := fmt.Fprintf(c.out, "%s %s %s %s (%s)\n", e.Time.Format(time.RFC3339Nano), e.Type, e.Action, f.id(e.ID), strings.Join(attrs, ", "))
	return err
}
