package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// bind pins source at path, which must not exist.
//
// The folder of pins is a mount of its own, private and unbindable
// (mount_namespaces(7)). ip-netns(8) makes /run/netns shared instead: each
// "ip netns" is a short-lived process, perhaps in a mount namespace of its
// own, whose mounts have to appear everywhere, and whose unmounts have to
// take the copies away too. A daemon needs none of that, and a shared folder
// costs: each pin would be mounted again in every mount namespace of the
// machine that follows ours. Copies are still made when a mount namespace is
// cloned while a pin exists; removing a pin's file takes those down as well
// (vfs_unlink detaches what other mount namespaces have mounted on it), so
// that a pin that is removed here keeps nothing alive anywhere.
func (n *Namespaces) bind(source, path string) error {
	n.pins.Lock()
	defer n.pins.Unlock()
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return err
	}
	failpoint.Before("netns.file")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	failpoint.After("netns.file")
	if errors.Is(err, fs.ErrExist) {
		return catenet.Conflictf("pin namespace: %s exists", path)
	}
	if err != nil {
		return fmt.Errorf("pin namespace: %w", err)
	}
	f.Close()
	failpoint.Before("netns.pin")
	err = unix.Mount(source, path, "", unix.MS_BIND, "")
	failpoint.After("netns.pin")
	if err != nil {
		return errors.Join(fmt.Errorf("pin namespace at %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// Unpin removes the place at path; the folder's mount goes with the last one.
func (n *Namespaces) Unpin(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.pins.Lock()
	defer n.pins.Unlock()
	// EINVAL: there is a file, but nothing is mounted there.
	failpoint.Before("netns.unpin")
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	failpoint.After("netns.unpin")
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unpin namespace %s: %w", path, err)
	}
	failpoint.Before("netns.remove")
	err = os.Remove(path)
	failpoint.After("netns.remove")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin namespace: %w", err)
	}
	return disownFolder(filepath.Dir(path))
}

// ownFolder makes dir, and makes it a private mount. One that is mounted
// already may lack the latter: who mounted it may have been killed at that.
func ownFolder(dir string) error {
	failpoint.Before("netns.folder")
	err := os.MkdirAll(dir, 0o755)
	failpoint.After("netns.folder")
	if err != nil {
		return fmt.Errorf("make folder of namespaces: %w", err)
	}
	mounted, err := isMount(dir)
	if err != nil || mounted && !isBoundOnItself(dir) {
		return err
	}
	if !mounted {
		failpoint.Before("netns.mount")
		err = unix.Mount(dir, dir, "", unix.MS_BIND, "")
		failpoint.After("netns.mount")
		if err != nil {
			return fmt.Errorf("mount folder of namespaces %s: %w", dir, err)
		}
	}
	failpoint.Before("netns.private")
	err = unix.Mount("", dir, "", unix.MS_UNBINDABLE, "")
	failpoint.After("netns.private")
	if err != nil && !mounted {
		err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	if err != nil {
		return fmt.Errorf("make %s private: %w", dir, err)
	}
	return nil
}

// disownFolder unmounts dir if ownFolder mounted it and no pin is left.
func disownFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read folder of namespaces: %w", err)
	}
	mounted, err := isMount(dir)
	if err != nil || !mounted || !isBoundOnItself(dir) {
		return err
	}
	// Not detached: a folder that somebody else works in may stay.
	failpoint.Before("netns.unmount")
	err = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	failpoint.After("netns.unmount")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("unmount folder of namespaces %s: %w", dir, err)
	}
	return nil
}

// isMount tells whether something is mounted at dir (statx(2)).
func isMount(dir string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return false, fmt.Errorf("look at folder of namespaces %s: %w", dir, err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// isBoundOnItself tells a folder mounted on itself from the root of a file
// system of its own, which is not ours to unmount: both ends of the former
// are on one device.
func isBoundOnItself(dir string) bool {
	var in, above unix.Stat_t
	return unix.Stat(dir, &in) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && in.Dev == above.Dev
}
