package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryFlagSaysWhatItTakes, in a word for people: not what type it has in
// a program.
func TestEveryFlagSaysWhatItTakes(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if takes, _ := pflag.UnquoteUsage(f); strings.HasPrefix(takes, "string") {
				t.Errorf("%s --%s takes a %s", cmd.CommandPath(), f.Name, takes)
			}
		})
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit((&cli{}).root())
}
