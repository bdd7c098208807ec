package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) version() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of the daemon",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			v := struct {
				Client catenet.Version  `json:"client"`
				Server *catenet.Version `json:"server"` // null if it does not answer
			}{Client: catenet.BuildVersion()}
			server, err := cl.Version(cmd.Context())
			if err == nil {
				v.Server = &server
			}
			if !f.asTable() {
				if werr := f.one(c.out, v); werr != nil {
					return werr
				}
				return err
			}
			fmt.Fprintf(c.out, "Client: %s\n", versionLine(v.Client))
			if v.Server != nil {
				fmt.Fprintf(c.out, "Server: %s\n", versionLine(*v.Server))
			}
			return err
		},
	}
	f.formatFlag(cmd)
	return cmd
}

func versionLine(v catenet.Version) string {
	return fmt.Sprintf("%s (API %s, %s, %s)", v.Version, v.API, v.Go, v.Platform)
}
