package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) exec() *cobra.Command {
	var env []string
	var interactive, tty bool
	cmd := &cobra.Command{
		Use:   "exec [-i] [-e KEY=VALUE]... NAME -- COMMAND...",
		Short: "Run one more program in a running container",
		Long: `Run one more program in a running container, and exit as it does. It ends when
this command is ended. Of standard input it gets nothing, unless -i is given.`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tty {
				return usage(catenet.Invalidf("exec -t: catenet gives programs no terminal").WithHint("leave out -t; -i passes standard input on"))
			}
			name, command := args[0], args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return usage(catenet.Invalidf("exec has no command").WithHint("usage: %s", cmd.UseLine()))
			}
			if err := refs("container", name); err != nil {
				return err
			}
			vars, err := environment(env)
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			var in io.Reader
			if interactive {
				in = c.in
			}
			code, err := cl.Exec(cmd.Context(), name, catenet.ExecSpec{Args: command, Env: vars}, in, c.out, c.err)
			if err != nil {
				return err
			}
			return exitError{code}
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "environment, `KEY=VALUE`, or KEY with its value here")
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "not supported: there are no terminals")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "pass standard input on")
	return cmd
}
