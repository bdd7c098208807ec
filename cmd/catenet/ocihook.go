package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

func (c *cli) ociHook() *cobra.Command {
	return &cobra.Command{
		Use:   "oci-hook createRuntime|poststop",
		Short: "Join a container of runc or crun to networks, as its hook",
		Long: `Joins a container of an OCI runtime to networks, without a manager. The runtime
calls it as a hook of config.json and hands it the container's state:

  "annotations": { "catenet.network": "front", "catenet.publish": "8080:80" },
  "hooks": {
    "createRuntime": [ { "path": "/usr/bin/catenet", "args": [ "catenet", "oci-hook", "createRuntime" ] } ],
    "poststop":      [ { "path": "/usr/bin/catenet", "args": [ "catenet", "oci-hook", "poststop" ] } ]
  }

An annotation catenet.FLAG is --FLAG of attach; what may be given more than
once is separated by white space. A container without such an annotation is
left alone. One that cannot be joined is not created.`,
		Args:      args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{"createRuntime", "poststop"},
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := readState(c.in)
			if err != nil {
				return usage(err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			if args[0] == "poststop" {
				return c.afterStop(cmd.Context(), cl, st.ID)
			}
			return c.atCreation(cmd.Context(), cl, st)
		},
	}
}

// atCreation joins a container whose namespaces are there, and whose program has
// not begun.
func (c *cli) atCreation(ctx context.Context, cl *client.Client, st ociState) error {
	spec, asked, err := st.spec()
	if err != nil || !asked {
		return err
	}
	if err := st.config(&spec); err != nil {
		return err
	}
	awaitFormer(ctx, cl, spec)
	sb, err := cl.CreateSandbox(ctx, spec, true)
	if err != nil {
		return err
	}
	c.warn(sb)
	return nil
}

// ociState is the state of a container as its runtime tells it (OCI runtime
// specification, "State").
type ociState struct {
	ID          string            `json:"id"`
	PID         int               `json:"pid"`    // 0 once it has ended
	Bundle      string            `json:"bundle"` // absolute
	Annotations map[string]string `json:"annotations"`
}

// maxState bounds what is read of a state or of a config.json, in bytes.
const maxState = 4 << 20

func readState(in io.Reader) (st ociState, err error) {
	if err := json.NewDecoder(io.LimitReader(in, maxState)).Decode(&st); err != nil {
		return st, catenet.Invalidf("read the container's state on standard input: %w", err).
			WithHint("oci-hook is for the hooks of config.json: catenet oci-hook --help shows them")
	}
	return st, catenet.ValidateRef("container", st.ID)
}

// annotation begins the key of those that are for us.
const annotation = "catenet."

// spec makes what is asked for of the annotations, which are flags of attach by
// other means; asked is false where there are none.
func (st ociState) spec() (spec catenet.SandboxSpec, asked bool, err error) {
	var j joinFlags
	cmd := &cobra.Command{Use: "oci-hook"}
	j.add(cmd)
	for _, key := range slices.Sorted(maps.Keys(st.Annotations)) {
		name, ours := strings.CutPrefix(key, annotation)
		if !ours {
			continue
		}
		asked = true
		if err := annotate(cmd.Flags(), name, st.Annotations[key]); err != nil {
			return spec, asked, err
		}
	}
	if spec, err = j.spec(); err != nil {
		return spec, asked, err
	}
	if spec.Mode != "" {
		return spec, asked, catenet.Invalidf("annotation %snetwork: %s makes no sense for a namespace that exists", annotation, spec.Mode).WithHint("name a network to join")
	}
	spec.Owner, spec.RuntimeID, spec.PID = catenet.OwnerOCI, st.ID, st.PID
	if spec.Name == "" {
		spec.Name = ownName(st.ID)
	}
	return spec, asked, nil
}

// ownName is what a container is called that has no name but its ID.
func ownName(id string) string {
	if len(id) > catenet.MaxName { // made by a machine
		return catenet.ShortID(id)
	}
	return id
}

// annotate sets one flag. Those that may be there more than once are not so in
// annotations, whose keys are unique.
func annotate(flags *pflag.FlagSet, name, value string) error {
	flag := flags.Lookup(name)
	if flag == nil || name == "help" {
		var known []string
		flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		known = slices.DeleteFunc(known, func(n string) bool { return n == "help" })
		return catenet.Invalidf("unknown annotation %s%s", annotation, name).
			WithHint("behind %q stands a flag of catenet attach: %s", annotation, strings.Join(known, ", "))
	}
	values := []string{value}
	if flag.Value.Type() == "stringArray" {
		values = strings.Fields(value)
	}
	for _, v := range values {
		if err := flags.Set(name, v); err != nil {
			return catenet.Invalidf("annotation %s%s: %w", annotation, name, err)
		}
	}
	return nil
}

// config adds what the bundle says of the container: where its root is, and
// what it is called inside.
func (st ociState) config(spec *catenet.SandboxSpec) error {
	var config struct {
		Hostname string `json:"hostname"`
		Root     struct {
			Path string `json:"path"`
		} `json:"root"`
	}
	f, err := os.Open(filepath.Join(st.Bundle, "config.json"))
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxState)).Decode(&config)
	}
	if err != nil {
		return fmt.Errorf("read what the container is: %w", err)
	}
	if config.Root.Path == "" {
		return catenet.Invalidf("%s names no root file system", f.Name())
	}
	if spec.Rootfs = config.Root.Path; !filepath.IsAbs(spec.Rootfs) {
		spec.Rootfs = filepath.Join(st.Bundle, spec.Rootfs)
	}
	spec.Hostname = cmp.Or(spec.Hostname, config.Hostname)
	return nil
}

// succession bounds how long a container waits for an earlier one that had its
// ID: the daemon hears of the end of a process a moment after its runtime does.
const succession = 5 * time.Second

// awaitFormer waits until an earlier run of the same container is detached. One
// that is not then is found by who makes the sandbox.
func awaitFormer(ctx context.Context, cl *client.Client, spec catenet.SandboxSpec) {
	for deadline := time.Now().Add(succession); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		former, err := cl.Sandbox(ctx, spec.RuntimeID)
		if err != nil || former.RuntimeID != spec.RuntimeID || former.Owner != spec.Owner {
			return
		}
	}
}

// afterStop detaches the container, which may be gone already: the daemon
// notices the end of its process, also of one that ended while no daemon ran.
func (c *cli) afterStop(ctx context.Context, cl *client.Client, id string) error {
	all, err := cl.Sandboxes(ctx, true)
	if catenet.KindOf(err) == catenet.KindUnavailable {
		c.tell(fmt.Errorf("warning: container %s is detached when the daemon starts again: %w", id, err))
		return nil
	}
	errs := []error{err}
	for _, sb := range all {
		if sb.Owner != catenet.OwnerOCI || sb.RuntimeID != id {
			continue
		}
		if err := cl.Remove(ctx, sb.ID, false); !catenet.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
