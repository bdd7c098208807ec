// Command daemonman writes the pages of the manual that are about the daemon,
// catenetd(8) and catenet.yaml(5), into the folder that is named.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/config"
	"github.com/catenet/catenet/packaging/man"
)

func main() {
	for _, p := range []man.Page{daemon(), settings()} {
		p.Version, p.Manual = catenet.BuildVersion().Version, "catenet"
		if err := p.Write(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "daemonman:", err)
			os.Exit(1)
		}
	}
}

// daemon is catenetd(8).
func daemon() man.Page {
	flags, others := config.Flags()
	return man.Page{
		Name: "catenetd", Section: 8, About: "the daemon of catenet",
		Sections: []man.Section{
			{Title: "synopsis", Text: "catenetd [flags]"},
			{Title: "description", Text: `catenetd serves catenet(1): it makes networks, joins containers to them, publishes
their ports and answers their lookups. It runs as root.

It can be stopped, killed and started again at any time: containers and their
traffic go on, and the next start makes true what was promised.

A flag that is a setting of catenet.yaml(5) too wins over that. With SIGUSR2 the
program that is at the daemon's path by then takes its place, and no request and
no lookup fails.`},
			{Title: "options", Items: man.Flags(others)},
			{Title: "options that are settings", Items: man.Flags(flags)},
			{Title: "files", Items: []man.Item{
				{Name: config.DefaultFile, Text: "settings, see catenet.yaml(5)"},
				{Name: "/run/catenet/catenet.sock", Text: "the API; root and the members of group catenet may use it"},
				{Name: "/var/lib/catenet/catenet.db", Text: "what is on record: networks, and containers of catenet run"},
				{Name: "/run/catenet/live.db", Text: "what lives no longer than the machine runs"},
			}},
		},
		SeeAlso: []string{"catenet(1)", "catenet.yaml(5)"},
	}
}

// settings is catenet.yaml(5): the flags that are settings.
func settings() man.Page {
	var items []man.Item
	flags, _ := config.Flags()
	for _, it := range man.Flags(flags) {
		switch key := strings.TrimPrefix(it.Name, "--"); key {
		case "default-address-pool":
			items = append(items, man.Item{Name: key + "s", Value: "list", Text: "ranges that networks get their subnets from: the base, and the size of each subnet, which is the length of its prefix"})
		default:
			items = append(items, man.Item{Name: key, Value: it.Value, Text: it.Text})
		}
	}
	return man.Page{
		Name: "catenet.yaml", Section: 5, About: "settings of catenetd",
		Sections: []man.Section{
			{Title: "description", Text: config.DefaultFile + ` holds the settings of catenetd(8), as YAML. A setting that is not there has
its default; one that is unknown, or wrong, is told with its line, and the daemon
does not start.`},
			{Title: "settings", Items: items},
			{Title: "example", Text: "  " + strings.ReplaceAll(strings.TrimSpace(config.Example), "\n", "\n  ")},
		},
		SeeAlso: []string{"catenetd(8)"},
	}
}
