package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// grace is how long a container has to end when it is asked to.
const grace = 10 * time.Second

// runFlags are those of run that attach does not have.
type runFlags struct {
	join         joinFlags
	detach, rm   bool
	env          []string
	rootfs, work string
}

func (c *cli) runCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND...",
		Short: "Run a container",
		Long: `Run a container: a program in its own network, mount, PID, UTS and IPC
namespaces, on the host's file system or on --rootfs.

In the foreground its output is shown until it ends, SIGINT and SIGTERM stop it
(a second one at once), and the exit code is its own. Its standard input is
empty. A daemon that goes away meanwhile is waited for. With -d the ID is
printed.

--link NAME[:ALIAS] makes a running container of the same network known to this
one alone by ALIAS: to lookups and in /etc/hosts, also when it is started again
and has another address. Where containers do not reach each other (enable_icc is
false) it opens the ports that NAME exposes or publishes, to this one alone. On
every network the environment tells what is known at the start, as with
Docker's legacy links: ALIAS_NAME, ALIAS_PORT, ALIAS_PORT_80_TCP with _ADDR,
_PORT and _PROTO, and NAME's own variables as ALIAS_ENV_….`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := f.spec(args)
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			if !f.detach {
				return c.foreground(cmd.Context(), cl, spec)
			}
			sb, err := cl.CreateSandbox(cmd.Context(), spec, true)
			if err != nil {
				return err
			}
			c.warn(sb)
			fmt.Fprintln(c.out, sb.ID)
			return nil
		},
	}
	f.join.add(cmd)
	fl := cmd.Flags()
	fl.SetInterspersed(false)
	fl.BoolVarP(&f.detach, "detach", "d", false, "print the ID and return")
	fl.BoolVar(&f.rm, "rm", false, "remove the container when it has ended")
	fl.StringArrayVarP(&f.env, "env", "e", nil, "environment, `KEY=VALUE`, or KEY with its value here")
	fl.StringVar(&f.rootfs, "rootfs", "", "`folder` that is the container's file system (default: the host's)")
	fl.StringVarP(&f.work, "workdir", "w", "", "working `directory` (default: /)")
	return cmd
}

func (f *runFlags) spec(args []string) (catenet.SandboxSpec, error) {
	s, err := f.join.spec()
	if err != nil {
		return s, err
	}
	s.Owner = catenet.OwnerRun
	p := &catenet.Process{Args: args, AutoRemove: f.rm, Dir: f.work}
	s.Process = p
	if p.Env, err = environment(f.env); err != nil {
		return s, err
	}
	if f.work != "" && !filepath.IsAbs(f.work) {
		return s, catenet.Invalidf("--workdir %q does not begin with '/'", f.work)
	}
	if f.rootfs != "" {
		// The daemon's working directory is not ours.
		if p.Rootfs, err = filepath.Abs(f.rootfs); err != nil {
			return s, fmt.Errorf("find --rootfs: %w", err)
		}
	}
	return s, nil
}

func (c *cli) warn(sb catenet.SandboxStatus) {
	for _, w := range sb.Warnings {
		fmt.Fprintf(c.err, "catenet: warning: %s\n", w)
	}
}

// foreground runs a container, shows its output until it ends, and exits as it
// did. The container is made first and started when its log and its end are
// being waited for, so that neither is lost, however short it lives.
func (c *cli) foreground(ctx context.Context, cl *client.Client, spec catenet.SandboxSpec) error {
	sb, err := cl.CreateSandbox(ctx, spec, false)
	if err != nil {
		return err
	}
	c.warn(sb)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan struct{}, 2)
	ready := func() func() { return sync.OnceFunc(func() { found <- struct{}{} }) }
	logged := make(chan error, 1)
	go func() {
		logged <- c.follow(ctx, cl, sb.ID, ready())
	}()
	ended := make(chan end, 1)
	go func() {
		code, err := c.await(ctx, cl, sb.ID, ready())
		ended <- end{code, err}
	}()
	if err := startWhen(ctx, cl, sb.ID, found, logged, ended); err != nil {
		// Nothing of it is of use: what could be asked of it never ran.
		if rerr := cl.Remove(ctx, sb.ID, true); rerr != nil && !catenet.IsNotFound(rerr) {
			c.tell(rerr)
		}
		return err
	}
	left := grace
	for {
		select {
		case <-signals:
			go c.stopIt(ctx, cl, sb.ID, left)
			left = 0
		case e := <-ended:
			if e.err != nil {
				return catenet.Errorf(catenet.KindOf(e.err), "%w", e.err).WithHint("the container may still run: catenet ps -a, catenet logs %s", sb.Name)
			}
			if err := <-logged; err != nil {
				c.tell(err)
			}
			return exitError{e.code}
		}
	}
}

// stopIt stops a container that somebody waits for.
func (c *cli) stopIt(ctx context.Context, cl *client.Client, id string, grace time.Duration) {
	err := reunite(ctx, func(func()) error { return cl.Stop(ctx, id, grace) })
	if err != nil && !catenet.IsNotFound(err) {
		c.tell(err)
	}
}

// end is how a container ended, or why that is not known.
type end struct {
	code int
	err  error
}

// startWhen starts a container when its log and its end have been found.
func startWhen(ctx context.Context, cl *client.Client, id string, found <-chan struct{}, logged <-chan error, ended <-chan end) error {
	for range 2 {
		select {
		case <-found:
		case err := <-logged:
			return fmt.Errorf("follow log: %w", err)
		case e := <-ended:
			return fmt.Errorf("wait for end: %w", e.err)
		}
	}
	return cl.Start(ctx, id)
}

// copyLines writes a container's log: its output to ours, its errors to ours.
func (c *cli) copyLines(stamps bool) func(string, time.Time, []byte) error {
	return func(stream string, t time.Time, line []byte) error {
		w := c.out
		if stream == catenet.Stderr {
			w = c.err
		}
		b := make([]byte, 0, len(line)+40)
		if stamps {
			b = append(t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z"), ' ')
		}
		_, err := w.Write(append(b, line...))
		return err
	}
}
