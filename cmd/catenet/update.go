package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) update() *cobra.Command {
	var name string
	var publish, unpublish, aliases []string
	cmd := &cobra.Command{
		Use:   "update [flags] NAME",
		Short: "Change the name, aliases and published ports of a container",
		Long: `Change a container, be it while it runs: ports are published and closed, the
name and the aliases by which others find it are replaced. Ports and connections
that are not named stay as they are.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args[0]); err != nil {
				return err
			}
			var up catenet.SandboxUpdate
			var err error
			if cmd.Flags().Changed("name") {
				up.Name, err = &name, catenet.ValidateName("container", name)
			}
			if err == nil {
				up.Publish, err = ports(publish)
			}
			if err == nil {
				up.Unpublish, err = ports(unpublish)
			}
			if err == nil {
				up.Aliases, err = aliasesOf(aliases)
			}
			if err == nil && reflect.ValueOf(up).IsZero() {
				err = catenet.Invalidf("nothing is to be changed").WithHint("see %s --help", cmd.CommandPath())
			}
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			sb, err := cl.UpdateSandbox(cmd.Context(), args[0], up)
			if err == nil {
				fmt.Fprintln(c.out, sb.Name)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "another `name`")
	f.StringArrayVarP(&publish, "publish", "p", nil, publishUsage)
	f.StringArrayVar(&unpublish, "unpublish", nil, "close published `ports`, written likewise; what is left out is any")
	f.StringArrayVar(&aliases, "network-alias", nil, "all aliases in a network from now on, `NETWORK=ALIAS,…`; NETWORK= is none")
	return cmd
}

// aliasesOf reads arguments NETWORK=ALIAS,….
func aliasesOf(args []string) (map[string][]string, error) {
	var out map[string][]string
	for _, arg := range args {
		network, list, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, catenet.Invalidf("--network-alias %q names no network", arg).WithHint("it is written NETWORK=ALIAS,…")
		}
		if err := catenet.ValidateRef("network", network); err != nil {
			return nil, err
		}
		if out == nil {
			out = make(map[string][]string)
		}
		all := []string{}
		if list != "" {
			all = strings.Split(list, ",")
		}
		for _, alias := range all {
			if err := catenet.ValidateName("alias", alias); err != nil {
				return nil, err
			}
		}
		out[network] = append(out[network], all...)
	}
	return out, nil
}

func (c *cli) rename() *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME NEW-NAME",
		Short: "Give a container another name",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refs("container", args[0]); err != nil {
				return err
			}
			if err := catenet.ValidateName("container", args[1]); err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			_, err = cl.UpdateSandbox(cmd.Context(), args[0], catenet.SandboxUpdate{Name: &args[1]})
			return err
		},
	}
}
