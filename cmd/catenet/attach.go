package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

func (c *cli) attach() *cobra.Command {
	var j joinFlags
	var pid int
	var netns, rootfs string
	cmd := &cobra.Command{
		Use:   "attach --name NAME (--pid PID | --netns PATH) [flags]",
		Short: "Join a network namespace that exists to networks",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := j.spec()
			if err != nil {
				return usage(err)
			}
			if spec.Owner, spec.PID = catenet.OwnerAttach, pid; spec.Name == "" {
				return usage(catenet.Invalidf("attach needs a name").WithHint("give it one with --name"))
			}
			if (pid != 0) == (netns != "") || pid < 0 {
				return usage(catenet.Invalidf("attach needs one namespace").WithHint("name it by --pid PID or by --netns PATH"))
			}
			if spec.Mode != "" {
				return usage(catenet.Invalidf("--network %s makes no sense for a namespace that exists", spec.Mode).WithHint("name a network to join"))
			}
			if spec.Rootfs = rootfs; rootfs != "" && (pid == 0 || !filepath.IsAbs(rootfs)) {
				return usage(catenet.Invalidf("--rootfs %q is no absolute path of a --pid", rootfs).WithHint("it is the root as that process sees it: / once its container runs"))
			}
			if netns != "" {
				// The daemon's working directory is not ours.
				if spec.Netns, err = filepath.Abs(netns); err != nil {
					return fmt.Errorf("find --netns: %w", err)
				}
			}
			cl, err := c.client()
			if err != nil {
				return err
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
	j.add(cmd)
	cmd.Flags().IntVar(&pid, "pid", 0, "the namespace of this `process`")
	cmd.Flags().StringVar(&netns, "netns", "", "the namespace at this `path`, like /run/netns/NAME")
	cmd.Flags().StringVar(&rootfs, "rootfs", "", "with --pid: the `folder` that is the container's root, as that process sees it (mostly /), to have its names in /etc/hosts and /etc/resolv.conf")
	return cmd
}
