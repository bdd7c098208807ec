package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/cmd/catenet/adopt"
)

// adoption is one run of adopt.
type adoption struct {
	cl              *client.Client
	dryRun, replace bool
	options         map[string]catenet.DriverOptions // by driver
	existing        []catenet.NetworkStatus
}

func (c *cli) adopt() *cobra.Command {
	a := adoption{}
	var dirs []string
	cmd := &cobra.Command{
		Use:   "adopt [--dry-run] [--replace] docker|podman",
		Short: "Make the networks that Docker or Podman defines",
		Long: `Make the networks that Docker or Podman defines on this host: with their names,
subnets, gateways, ranges, reserved addresses, options and labels. A line tells
what becomes of each; what is here already stays as it is, so that it can be run
again. Containers are not taken along.

docker asks a running dockerd (DOCKER_HOST, or /var/run/docker.sock). Its bridges
stand as long as their networks are defined, and two bridges cannot have one
gateway. So such a network is refused, unless --replace is given: then it is
removed there when it is made here, if no container is in it; if it cannot be
made here, it is made there again.

podman reads the files of root's Podman, or those in --dir. Its bridges stand
while containers are in them. What it chooses addresses from is set aside.`,
		DisableFlagsInUseLine: true,
		ValidArgs:             []string{"docker", "podman"},
		Args:                  args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if args[0] == "docker" && dirs != nil {
				return usage(catenet.Invalidf("--dir is for podman").WithHint("DOCKER_HOST names the socket of dockerd"))
			}
			if args[0] == "podman" && a.replace {
				return usage(catenet.Invalidf("--replace is for docker").WithHint("podman network rm NAME removes what is adopted"))
			}
			found, err := c.theirs(cmd.Context(), args[0], dirs)
			if err != nil {
				return err
			}
			if a.cl, err = c.client(); err != nil {
				return err
			}
			info, err := a.cl.Info(cmd.Context())
			if err != nil {
				return err
			}
			a.options = info.Options
			if a.existing, err = a.cl.Networks(cmd.Context()); err != nil {
				return err
			}
			return c.adoptAll(cmd.Context(), &a, found)
		},
	}
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "say what would be made, and make nothing")
	cmd.Flags().BoolVar(&a.replace, "replace", false, "remove what is made here from docker")
	cmd.Flags().StringArrayVar(&dirs, "dir", nil, "`folder` of podman's definitions (default: /etc/containers/networks)")
	return cmd
}

// theirs reads what the other engine defines.
func (c *cli) theirs(ctx context.Context, engine string, dirs []string) ([]adopt.Found, error) {
	if engine == "podman" {
		if dirs == nil {
			dirs = adopt.PodmanDirs
		}
		return adopt.Podman(dirs...)
	}
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = adopt.DockerHost
	}
	if strings.TrimPrefix(host, "unix://") == strings.TrimPrefix(c.host, "unix://") {
		return nil, catenet.Invalidf("DOCKER_HOST names catenet itself").WithHint("unset it, or name dockerd's socket: %s", adopt.DockerHost)
	}
	return adopt.Docker(ctx, host)
}

// adoptAll makes each, and tells what became of it. A signal is heard between
// two of them: one that has been removed there would be nowhere. The next one
// ends at once.
func (c *cli) adoptAll(ctx context.Context, a *adoption, found []adopt.Found) error {
	between, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(between, stop)
	failed := false
	for i, f := range found {
		if between.Err() != nil {
			return catenet.Errorf(catenet.KindUnavailable, "interrupted before %s", f.Spec.Name).WithHint("what is told of above is done; run it again for the rest")
		}
		var said string
		err := c.during(fmt.Sprintf("adopting %s (%d of %d)", f.Spec.Name, i+1, len(found)), func() (err error) {
			said, err = a.one(ctx, &f)
			return err
		})
		if err != nil {
			failed, said, f.Notes = true, "cannot be made: "+err.Error(), nil
			if hint := catenet.HintOf(err); hint != "" {
				f.Notes = []string{hint}
			}
		}
		fmt.Fprintf(c.out, "%s: %s\n", f.Spec.Name, said)
		for _, note := range f.Notes {
			fmt.Fprintf(c.out, "  %s\n", note)
		}
	}
	if failed {
		return exitError{1}
	}
	return nil
}

// one makes a network, and says what became of it.
func (a *adoption) one(ctx context.Context, f *adopt.Found) (string, error) {
	switch {
	case f.LeftOut != "":
		f.Notes = nil
		return "left out, " + f.LeftOut, nil
	case f.Err != nil:
		return "", f.Err
	}
	if i := slices.IndexFunc(a.existing, func(n catenet.NetworkStatus) bool { return n.Name == f.Spec.Name }); i >= 0 {
		if f.Notes = nil; same(f.Spec, a.existing[i].NetworkSpec) {
			return "exists already", nil
		}
		return "", catenet.Conflictf("another network has the name").WithHint("catenet network inspect %s shows it", f.Spec.Name)
	}
	if err := a.known(f); err != nil {
		return "", err
	}
	stands, err := a.stands(f)
	if err == nil {
		err = a.free(f.Spec)
	}
	if err != nil {
		return "", err
	}
	if a.dryRun {
		return "would be made: " + about(f.Spec), nil
	}
	if !stands {
		return "made: " + about(f.Spec), a.create(ctx, f)
	}
	undo, err := f.Remove(ctx)
	if err != nil {
		return "", err
	}
	if err = a.create(ctx, f); err != nil {
		if uerr := undo(ctx); uerr != nil {
			return "", catenet.Errorf(catenet.KindOf(err), "%w; nor could it be made there again: %v", err, uerr).WithHint("%s", catenet.HintOf(err))
		}
		return "", err
	}
	return "made, and removed there: " + about(f.Spec), nil
}

func (a *adoption) create(ctx context.Context, f *adopt.Found) error {
	_, warnings, err := a.cl.CreateNetwork(ctx, f.Spec)
	f.Notes = append(f.Notes, warnings...)
	return err
}

// known refuses a driver that is not known here, and leaves out options.
func (a *adoption) known(f *adopt.Found) error {
	if f.Spec.ConfigOnly {
		return nil
	}
	options, ok := a.options[f.Spec.Driver]
	if !ok {
		return catenet.Unsupportedf("there is no driver %s here", f.Spec.Driver)
	}
	for key, value := range f.Spec.Options {
		if !slices.Contains(options.Network, key) {
			delete(f.Spec.Options, key)
			f.Notes = append(f.Notes, fmt.Sprintf("option %s=%s has no like here: left out", key, value))
		}
	}
	slices.Sort(f.Notes)
	return nil
}

// exists reports whether the host has a link of that name.
func exists(link string) bool {
	_, err := net.InterfaceByName(link)
	return err == nil
}

// stands tells whether their bridge is up: a network that has one can only be
// made in its place.
func (a *adoption) stands(f *adopt.Found) (bool, error) {
	if f.Link == "" {
		return false, nil
	}
	if !exists(f.Link) {
		return false, nil
	}
	if !a.replace || f.Remove == nil {
		return true, catenet.Conflictf("its bridge %s is up, and two cannot have one gateway", f.Link).WithHint("%s", f.Leave)
	}
	if len(f.Members) > 0 {
		return true, catenet.Conflictf("containers are in it: %s", strings.Join(f.Members, ", ")).WithHint("stop them, or disconnect them from it, first")
	}
	return true, nil
}

// free refuses subnets that overlap those there are, as the daemon would.
func (a *adoption) free(s catenet.NetworkSpec) error {
	for _, p := range s.Pools {
		for _, n := range a.existing {
			for _, q := range n.Pools {
				if !n.ConfigOnly && !s.ConfigOnly && p.Subnet.Overlaps(q.Subnet) {
					return catenet.Conflictf("subnet %s overlaps %s of network %q", p.Subnet, q.Subnet, n.Name)
				}
			}
		}
	}
	return nil
}

// same tells whether a network that exists is what is asked for.
func same(want, have catenet.NetworkSpec) bool {
	if want.Driver != have.Driver || want.Internal != have.Internal || want.ConfigOnly != have.ConfigOnly {
		return false
	}
	return !slices.ContainsFunc(want.Pools, func(p catenet.Pool) bool {
		return !slices.ContainsFunc(have.Pools, func(q catenet.Pool) bool { return p.Subnet == q.Subnet })
	})
}

// about describes a network in a line.
func about(s catenet.NetworkSpec) string {
	words := []string{s.Driver}
	if s.ConfigOnly {
		words[0] = "config-only"
	}
	for _, p := range s.Pools {
		w := p.Subnet.String()
		if p.Gateway.IsValid() {
			w += " via " + p.Gateway.String()
		}
		if p.Range.IsValid() {
			w += " range " + p.Range.String()
		}
		for _, r := range p.SetAside {
			w += " without " + r.String()
		}
		words = append(words, w)
	}
	if s.Internal {
		words = append(words, "internal")
	}
	return strings.Join(words, ", ")
}
