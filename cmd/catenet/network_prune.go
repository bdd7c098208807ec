package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) networkPrune() *cobra.Command {
	var filters []string
	var force bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove the networks that no container is in",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := catenet.ParseFilter(filters, catenet.PruneFilterKeys)
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			if !force {
				if yes, err := c.sure("This removes all networks that no container is in. Go on? [y/N] "); err != nil || !yes {
					return err
				}
			}
			var names []string
			err = c.during("removing networks", func() (err error) {
				names, err = cl.PruneNetworks(cmd.Context(), filter)
				return err
			})
			if err != nil {
				return err
			}
			for _, n := range names {
				fmt.Fprintln(c.out, n)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "`KEY=VALUE`: label=…, label!=…, until=…")
	return cmd
}

// sure asks on standard error and reads a line. That there is none is an
// error: a script must not take it for done.
func (c *cli) sure(question string) (bool, error) {
	fmt.Fprint(c.err, question)
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(c.err)
		return false, catenet.Invalidf("nobody answered: nothing is removed").WithHint("-f does not ask")
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
