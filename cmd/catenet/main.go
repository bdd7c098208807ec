// Command catenet is the command line of the catenet engine. It speaks to the
// daemon over its socket and knows nothing that the API does not tell.
//
// Exit codes: 0, 1 when something failed, 2 when the command line is wrong.
// run in the foreground and exec exit as the program did that they ran.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// now is the clock that ages are told by.
var now = time.Now

// cli is what every verb needs.
type cli struct {
	host     string
	in       io.Reader
	out, err io.Writer
}

// client returns a client of the daemon that -H or CATENET_HOST names.
func (c *cli) client() (*client.Client, error) {
	cl, err := client.New(c.host)
	if err != nil {
		return nil, usage(err)
	}
	return cl, nil
}

// run carries out one command line and returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	c := &cli{in: in, out: out, err: errOut}
	root := c.root()
	root.SetArgs(longFlags(root, args))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.Execute()
	if ee, ok := errors.AsType[exitError](err); ok {
		return ee.code
	}
	if err == nil {
		return 0
	}
	c.tell(err)
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// tell writes an error for people: what is wrong, and the next step.
func (c *cli) tell(err error) {
	fmt.Fprintf(c.err, "catenet: %v\n", err)
	if hint := catenet.HintOf(err); hint != "" {
		fmt.Fprintf(c.err, "  %s\n", hint)
	}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "catenet",
		Short:         "Networks for containers",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	host := os.Getenv("CATENET_HOST")
	if host == "" {
		host = client.DefaultHost
	}
	root.PersistentFlags().StringVarP(&c.host, "host", "H", host, "`socket` of the daemon (CATENET_HOST)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		hint := cmp.Or(catenet.HintOf(err), "see "+cmd.CommandPath()+" --help")
		return usage(catenet.Invalidf("%w", err).WithHint("%s", hint))
	})
	root.AddCommand(
		c.network(),
		c.runCmd(), c.attach(), c.detach(), c.ociHook(),
		c.ps(), c.inspect(), c.port(), c.exec(), c.logs(),
		c.start(), c.stop(), c.rm(), c.update(), c.rename(),
		c.events(), c.topology(), c.info(), c.version(), c.adopt(), c.flanneld(), c.completion(),
	)
	c.completions(root)
	return root
}

// usageError is a command line that is wrong in itself: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(err error) error { return usageError{err} }

// exitError ends the program with a code and no word.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// args wraps a check of cobra's, so that what it finds is a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(catenet.Invalidf("%w", err).WithHint("usage: %s", cmd.UseLine()))
		}
		return nil
	}
}

// unknownVerb refuses arguments of a command that only has verbs below it.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := catenet.Invalidf("%s has no verb %q", cmd.CommandPath(), args[0]).WithHint("see %s --help", cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		// Letters change places more often than their number changes.
		odd := func(verb string) int { return max(len(verb)-len(args[0]), len(args[0])-len(verb)) }
		slices.SortStableFunc(s, func(a, b string) int { return odd(a) - odd(b) })
		err = err.WithHint("did you mean %s %s?", cmd.CommandPath(), s[0])
	}
	return usage(err)
}

// refs checks names that were given on the command line.
func refs(what string, names ...string) error {
	for _, n := range names {
		if err := catenet.ValidateRef(what, n); err != nil {
			return usage(err)
		}
	}
	return nil
}

// each does something to every name, prints those that it was done to, and
// tells of the others; the exit code is 1 if there are any. doing is what is
// shown of it meanwhile.
func (c *cli) each(doing string, names []string, do func(name string) error) error {
	failed := false
	for i, name := range names {
		err := c.during(fmt.Sprintf("%s %s (%d of %d)", doing, name, i+1, len(names)), func() error { return do(name) })
		if err != nil {
			c.tell(err)
			failed = true
			continue
		}
		fmt.Fprintln(c.out, name)
	}
	if failed {
		return exitError{1}
	}
	return nil
}
