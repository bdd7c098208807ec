package main

import "github.com/spf13/cobra"

func (c *cli) network() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Create, show and remove networks",
		Args:  unknownVerb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.networkCreate(), c.networkUpdate(), c.networkLs(), c.networkInspect(), c.networkRm(), c.networkPrune(), c.networkConnect(), c.networkDisconnect(), c.networkExport())
	return cmd
}
