package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// tabPatience is how long somebody who pressed Tab waits for the daemon.
const tabPatience = time.Second

// completions has what is live completed wherever it can be named: the
// arguments of verbs, by their path, and flags, which mean the same wherever
// they are.
func (c *cli) completions(root *cobra.Command) {
	root.CompletionOptions.DisableDefaultCmd = true // ours is completion
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	args, flags := c.argWords(), c.flagWords()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if f := args[strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")]; f != nil {
			cmd.ValidArgsFunction = f
		}
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if f := flags[flag.Name]; f != nil {
				if err := cmd.RegisterFlagCompletionFunc(flag.Name, f); err != nil {
					panic(err) // the flag is there, and met for the first time
				}
			}
		})
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(root)
}

// argWords completes the arguments of verbs.
func (c *cli) argWords() map[string]cobra.CompletionFunc {
	running := func(sb catenet.SandboxStatus) bool { return sb.State == catenet.StateRunning }
	own := func(sb catenet.SandboxStatus) bool { return sb.Owner == catenet.OwnerRun }
	idle := func(sb catenet.SandboxStatus) bool { return own(sb) && !running(sb) }
	custom := func(n catenet.NetworkStatus) bool { return !n.Predefined }
	joined := func(n catenet.NetworkStatus) bool { return len(n.Endpoints) > 0 }
	each, only := unlimited, inTurn
	return map[string]cobra.CompletionFunc{
		"inspect":            each(both(c.containers(nil), c.networks(nil))),
		"port":               only(c.containers(func(sb catenet.SandboxStatus) bool { return len(sb.Bindings) > 0 }), c.portsOf),
		"exec":               atFirst(c.containers(running)),
		"logs":               only(c.containers(own)),
		"start":              each(c.containers(idle)),
		"stop":               each(c.containers(func(sb catenet.SandboxStatus) bool { return own(sb) && running(sb) })),
		"rm":                 each(c.containers(nil)),
		"update":             only(c.containers(nil)),
		"rename":             only(c.containers(nil)),
		"detach":             each(c.containers(func(sb catenet.SandboxStatus) bool { return !own(sb) })),
		"network inspect":    each(c.networks(nil)),
		"network rm":         each(c.networks(custom)),
		"network update":     only(c.networks(joinable)),
		"network connect":    only(c.networks(joinable), c.containers(nil)),
		"network export":     only(cobra.FixedCompletions([]string{"podman"}, cobra.ShellCompDirectiveNoFileComp), c.networks(custom)),
		"network disconnect": only(c.networks(joined), c.membersOf),
		"run":                files,
	}
}

// flagWords completes the values of flags.
func (c *cli) flagWords() map[string]cobra.CompletionFunc {
	return map[string]cobra.CompletionFunc{
		"network":    c.networkFlag,
		"link":       c.containers(func(sb catenet.SandboxStatus) bool { return sb.State == catenet.StateRunning }),
		"driver":     c.drivers,
		"opt":        c.options,
		"driver-opt": c.endpointOptions,
		"filter":     c.filters,
		"format":     cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp),
		"netns":      files,
		"host":       files,
		"dir":        folders,
		"rootfs":     folders,
		// of flanneld
		"etcd-keyfile":  files,
		"etcd-certfile": files,
		"etcd-cafile":   files,
		"subnet-file":   files,
	}
}

func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func joinable(n catenet.NetworkStatus) bool {
	return n.Name != catenet.NetworkHost && n.Name != catenet.NetworkNone
}

// unlimited completes every argument alike, each once.
func unlimited(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		words, directive := f(cmd, args, typed)
		return slices.DeleteFunc(words, func(w string) bool {
			name, _, _ := strings.Cut(w, "\t")
			return slices.Contains(args, name)
		}), directive
	}
}

// atFirst completes the first argument, and the command behind it by files.
func atFirst(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return files(cmd, args, typed)
		}
		return f(cmd, args, typed)
	}
}

// inTurn completes the first argument by the first, and so on.
func inTurn(fs ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(fs) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return fs[len(args)](cmd, args, typed)
	}
}

// both offers what either does.
func both(a, b cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		words, directive := a(cmd, args, typed)
		more, _ := b(cmd, args, typed)
		return append(words, more...), directive
	}
}

// ask asks the daemon. One that does not answer, or not soon, leaves words
// empty: nobody who presses Tab wants to read of errors.
func ask[T any](c *cli, question func(context.Context, *client.Client) (T, error)) (answer T) {
	cl, err := c.client()
	if err != nil {
		return answer
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), tabPatience)
	defer cancel()
	if a, err := question(ctx, cl); err == nil {
		answer = a
	}
	return answer
}
