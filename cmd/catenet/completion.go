package main

import "github.com/spf13/cobra"

func (c *cli) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what completes command lines in a shell",
		Long: `Print the script by which a shell completes command lines of catenet, with the
names of the containers and networks there are. make install puts it where the
shells look; without that:

  bash  source <(catenet completion bash), with the package bash-completion
  zsh   catenet completion zsh >"${fpath[1]}/_catenet"
  fish  catenet completion fish >~/.config/fish/completions/catenet.fish`,
		DisableFlagsInUseLine: true,
		ValidArgs:             []string{"bash", "zsh", "fish"},
		Args:                  args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(c.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(c.out)
			}
			return cmd.Root().GenFishCompletion(c.out, true)
		},
	}
}
