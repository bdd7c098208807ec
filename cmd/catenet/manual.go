//go:build man

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/packaging/man"
)

// main writes the pages of all verbs into the folder that is named: built with
// the tag man, this program is the one that knows them.
func main() {
	c := &cli{}
	if err := manual(os.Args[1], c.root()); err != nil {
		fmt.Fprintln(os.Stderr, "catenet: write manual:", err)
		os.Exit(1)
	}
}

// manual writes the page of a verb and of those below it.
func manual(dir string, cmd *cobra.Command) error {
	if cmd.Hidden {
		return nil
	}
	if err := page(cmd).Write(dir); err != nil {
		return err
	}
	for _, below := range cmd.Commands() {
		if err := manual(dir, below); err != nil {
			return err
		}
	}
	return nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func page(cmd *cobra.Command) man.Page {
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	p := man.Page{
		Name: pageName(cmd), Section: 1, Version: catenet.BuildVersion().Version, Manual: "catenet", About: cmd.Short,
		Sections: []man.Section{{Title: "synopsis", Text: cmd.UseLine()}, {Title: "description", Text: about}},
	}
	var verbs []man.Item
	for _, below := range cmd.Commands() {
		if !below.Hidden {
			verbs = append(verbs, man.Item{Name: below.Name(), Text: below.Short})
			p.SeeAlso = append(p.SeeAlso, pageName(below)+"(1)")
		}
	}
	if verbs != nil {
		p.Sections[0].Text = cmd.CommandPath() + " VERB [arguments]"
	}
	p.Sections = append(p.Sections,
		man.Section{Title: "verbs", Items: verbs},
		man.Section{Title: "options", Items: man.Flags(cmd.NonInheritedFlags())},
		man.Section{Title: "options of every verb", Items: man.Flags(cmd.InheritedFlags())})
	if cmd.HasParent() {
		p.SeeAlso = append(p.SeeAlso, pageName(cmd.Parent())+"(1)")
	} else {
		p.Sections = append(p.Sections,
			man.Section{Title: "environment", Items: []man.Item{{Name: "CATENET_HOST", Text: "socket of the daemon, as -H names it"}}},
			man.Section{Title: "exit status", Items: []man.Item{
				{Name: "0", Text: "all went well"}, {Name: "1", Text: "something failed"}, {Name: "2", Text: "the command line is wrong"},
			}, Text: "run in the foreground, and exec, exit as the program did that they ran. Otherwise:"})
		p.SeeAlso = append(p.SeeAlso, "catenetd(8)", "catenet.yaml(5)")
	}
	slices.Sort(p.SeeAlso)
	return p
}
