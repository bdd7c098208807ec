// Package mounts lays files of ours over those of containers that others
// start: it implements kernel.Mounts.
//
// A file is mounted by descriptors: what is mounted is opened here, where it
// lies over is opened by way of the process's root, and only the mount itself
// is made by a thread that has entered the mount namespace. No path of the
// container's is ever followed outside of its root.
package mounts

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
)

// Mounts implements kernel.Mounts.
type Mounts struct{}

// New returns it.
func New() Mounts { return Mounts{} }

// Lay implements kernel.Mounts.
func (Mounts) Lay(ctx context.Context, t kernel.Target, root, source string) (laid bool, err error) {
	c, err := open(ctx, t)
	if err != nil {
		return false, err
	}
	defer c.close()
	failed := func(err error) (bool, error) {
		return false, catenet.Conflictf("mount %s in the container's %s: %w", filepath.Base(source), root, err).
			WithHint("is it the root of a file system that a file can be made in?")
	}
	top, err := c.in(root)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(top)
	target, err := ensure(top, inEtc(source))
	if err != nil {
		return failed(err)
	}
	defer unix.Close(target)
	if same(target, source) {
		return true, nil
	}
	if mounted, err := isMount(target); mounted || err != nil {
		return false, err
	}
	if shared, err := c.shared(target); err != nil {
		return false, err
	} else if shared {
		return false, catenet.Conflictf("the container's /%s lies in a mount that is shared with the host: what is mounted there would be on the host too", inEtc(source)).
			WithHint("make that mount private or slave in config.json, or mount a file of your own there")
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return false, fmt.Errorf("open %s to mount it: %w", source, err)
	}
	defer unix.Close(tree)
	err = c.enter(func() error {
		failpoint.Before("mounts.lay")
		err := unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		failpoint.After("mounts.lay")
		return err
	})
	if err != nil {
		return failed(err)
	}
	return true, nil
}

// Lift implements kernel.Mounts.
func (Mounts) Lift(ctx context.Context, t kernel.Target, root, source string) error {
	c, err := open(ctx, t)
	if catenet.IsNotFound(err) {
		return nil // the mount namespace went with it, or is another container's
	}
	if err != nil {
		return err
	}
	defer c.close()
	for _, root := range []string{root, "/"} {
		top, err := c.in(root)
		if err != nil {
			continue // it has another root by now
		}
		target, err := openIn(top, inEtc(source), unix.O_PATH, 0)
		unix.Close(top)
		if err != nil {
			continue
		}
		if same(target, source) {
			err = c.unmount(target)
		}
		unix.Close(target)
		if err != nil {
			return fmt.Errorf("unmount %s of the container: %w", filepath.Base(source), err)
		}
	}
	return nil
}

// inEtc is where a file lies in a container.
func inEtc(source string) string { return path.Join("etc", filepath.Base(source)) }

// unmount takes away what is mounted on an open file. The kernel wants a path
// to it, which is one in proc(5): in ours, for the container may have none.
func (c *container) unmount(target int) error {
	fds, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fds)
	return c.enter(func() error {
		if err := unix.Fchdir(fds); err != nil {
			return err
		}
		failpoint.Before("mounts.lift")
		err := unix.Unmount(strconv.Itoa(target), unix.MNT_DETACH)
		failpoint.After("mounts.lift")
		return err
	})
}

// same reports whether what is open is the very file at path.
func same(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// isMount tells whether something is mounted on what is open (statx(2)).
func isMount(fd int) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &st); err != nil {
		return false, os.NewSyscallError("statx", err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}
