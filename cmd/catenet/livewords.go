package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// containers offers the names of the containers that are wanted; nil wants
// all.
func (c *cli) containers(want func(catenet.SandboxStatus) bool) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return c.containerWords("", want), cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *cli) containerWords(prefix string, want func(catenet.SandboxStatus) bool) (words []string) {
	all := ask(c, func(ctx context.Context, cl *client.Client) ([]catenet.SandboxStatus, error) {
		return cl.Sandboxes(ctx, true)
	})
	for _, sb := range all {
		if want == nil || want(sb) {
			words = append(words, cobra.CompletionWithDesc(prefix+sb.Name, status(sb)))
		}
	}
	return words
}

// networks offers the names of the networks that are wanted; nil wants all.
func (c *cli) networks(want func(catenet.NetworkStatus) bool) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return c.networkWords("", want), cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *cli) networkWords(prefix string, want func(catenet.NetworkStatus) bool) (words []string) {
	all := ask(c, func(ctx context.Context, cl *client.Client) ([]catenet.NetworkStatus, error) { return cl.Networks(ctx) })
	for _, n := range all {
		if want == nil || want(n) {
			words = append(words, cobra.CompletionWithDesc(prefix+n.Name, strings.TrimSpace(n.Driver+" "+subnets(n.Network))))
		}
	}
	return words
}

// networkFlag offers what --network takes: networks, modes, and behind a
// network's ':' the keys of an endpoint.
func (c *cli) networkFlag(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.HasPrefix(typed, catenet.ModeContainer) {
		return c.containerWords(catenet.ModeContainer, func(sb catenet.SandboxStatus) bool { return sb.State == catenet.StateRunning }), cobra.ShellCompDirectiveNoFileComp
	}
	if i := strings.LastIndexAny(typed, ":,"); i >= 0 {
		var words []string
		for _, key := range endpointKeys {
			words = append(words, typed[:i+1]+key+"=")
		}
		return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	words := c.networkWords("", joinable)
	if cmd.Name() != "attach" { // which has a namespace already
		words = append(words,
			cobra.CompletionWithDesc(catenet.ModeHost, "the host's own namespace"),
			cobra.CompletionWithDesc(catenet.ModeNone, "nothing but lo"))
		words = append(words, c.containerWords(catenet.ModeContainer, func(sb catenet.SandboxStatus) bool { return sb.State == catenet.StateRunning })...)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// membersOf offers the containers in the network that is named already.
func (c *cli) membersOf(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	words := c.containerWords("", func(sb catenet.SandboxStatus) bool {
		return slices.ContainsFunc(sb.Endpoints, func(ep catenet.Endpoint) bool {
			return ep.Spec.Network == args[0] || strings.HasPrefix(ep.NetworkID, args[0])
		})
	})
	return words, cobra.ShellCompDirectiveNoFileComp
}

// portsOf offers the ports that the container named already publishes.
func (c *cli) portsOf(_ *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	sb := ask(c, func(ctx context.Context, cl *client.Client) (catenet.SandboxStatus, error) {
		return cl.Sandbox(ctx, args[0])
	})
	for _, b := range sb.Bindings {
		words = append(words, fmt.Sprintf("%d/%s", b.Port, b.Proto))
	}
	slices.Sort(words)
	return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) driverOptions() map[string]catenet.DriverOptions {
	return ask(c, func(ctx context.Context, cl *client.Client) (catenet.Info, error) { return cl.Info(ctx) }).Options
}

// drivers offers those that networks can be made with: one that knows no
// option has its one network already.
func (c *cli) drivers(*cobra.Command, []string, string) (words []string, _ cobra.ShellCompDirective) {
	options := c.driverOptions()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if len(options[name].Network) > 0 {
			words = append(words, name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// options offers the keys that the driver knows which --driver names; where a network
// is changed, the options that can be, as they are if it is named already.
func (c *cli) options(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if cmd.Name() == "update" {
		return c.changeable(args), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	driver := catenet.NetworkBridge
	if f := cmd.Flag("driver"); f != nil {
		driver = f.Value.String()
	}
	return keys(c.driverOptions()[driver].Network), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) changeable(args []string) (words []string) {
	known := c.driverOptions()
	if len(args) == 0 {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			words = append(words, keys(known[name].Update)...)
		}
		return words
	}
	n := ask(c, func(ctx context.Context, cl *client.Client) (catenet.NetworkStatus, error) {
		return cl.Network(ctx, args[0])
	})
	for _, key := range known[n.Driver].Update {
		words = append(words, key+"="+n.Options[key])
	}
	return words
}

// endpointOptions offers the keys that any driver knows.
func (c *cli) endpointOptions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, o := range c.driverOptions() {
		all = append(all, o.Endpoint...)
	}
	slices.Sort(all)
	return keys(slices.Compact(all)), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

func keys(names []string) (words []string) {
	for _, n := range names {
		words = append(words, n+"=")
	}
	return words
}

// filters offers the keys of the verb's --filter, and what each can be.
func (c *cli) filters(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	known := map[string][]string{"ls": catenet.NetworkFilterKeys, "prune": catenet.PruneFilterKeys, "events": catenet.EventFilterKeys}[cmd.Name()]
	key, _, hasKey := strings.Cut(typed, "=")
	if !hasKey {
		return keys(known), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	switch key {
	case "driver":
		for name := range c.driverOptions() {
			words = append(words, "driver="+name)
		}
		slices.Sort(words)
	case "name", "network":
		words = c.networkWords(key+"=", nil)
	case "container":
		words = c.containerWords("container=", nil)
	case "dangling":
		words = []string{"dangling=true", "dangling=false"}
	case "scope":
		words = []string{"scope=local"}
	case "type":
		words = []string{"type=builtin", "type=custom"}
		if cmd.Name() == "events" {
			words = []string{"type=network", "type=sandbox"}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
