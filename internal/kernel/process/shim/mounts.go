package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// mountAll makes the mounts that the container sees, in its own mount
// namespace.
func mountAll(s *Spec) error {
	if err := detach(); err != nil {
		return err
	}
	binds, err := openSources(s.Files)
	if err != nil {
		return err
	}
	if s.Rootfs != "" {
		err = enterRootfs(s.Rootfs)
	} else {
		err = dressHost(s)
	}
	if err != nil {
		return err
	}
	return binds.mount(s.Rootfs != "")
}

// detach lets nothing that is mounted here be seen outside. What the host
// unmounts goes here too, so that no container keeps a file system busy.
func detach() error {
	return failed("make mounts private", unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""))
}

// dressHost puts what a container must have of its own over the host's file
// system.
func dressHost(s *Spec) error {
	for _, folder := range s.Hide {
		if err := hide(folder); err != nil {
			return err
		}
	}
	if s.Netns != "" {
		if err := freshSys(); err != nil {
			return err
		}
	}
	if err := mountNew("proc", "/proc", "proc", nosuid|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return mountIPC()
}

const nosuid = unix.MS_NOSUID

// mountNew mounts a file system of its own.
func mountNew(source, target, fstype string, flags uintptr, data string) error {
	return failed("mount "+fstype+" on "+target, unix.Mount(source, target, fstype, flags, data))
}

// mountIPC mounts the two file systems that show the IPC namespace, or belong
// to it by custom, where there is a place for them.
func mountIPC() error {
	err := mountNew("shm", "/dev/shm", "tmpfs", nosuid|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=64m")
	if err != nil && !errors.Is(statErr("/dev/shm"), os.ErrNotExist) {
		return err
	}
	err = unix.Mount("mqueue", "/dev/mqueue", "mqueue", nosuid|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) { // no folder; no such thing in this kernel
		return nil
	}
	return failed("mount mqueue on /dev/mqueue", err)
}

func statErr(path string) error {
	_, err := os.Stat(path)
	return err
}

// hide unmounts what is mounted at folder and below: our copies of pinned
// namespaces, which would keep them alive as long as this mount namespace.
// An empty folder stands over it, so that later ones are not seen either.
func hide(folder string) error {
	folder, err := filepath.EvalSymlinks(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed("hide "+folder, err)
	}
	points, err := mountPoints(folder)
	if err != nil {
		return err
	}
	// The upper first: it takes those below it along, which then are no
	// mounts any more (EINVAL), or no files (ENOENT).
	for _, p := range points {
		err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return failed("unmount "+p, err)
		}
	}
	return mountNew("tmpfs", folder, "tmpfs", unix.MS_RDONLY|nosuid|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=700")
}

// freshSys mounts a sysfs that shows the thread's network namespace in
// /sys/class/net, and leaves what was mounted on the old one (the cgroups) in
// its place.
func freshSys() error {
	points, err := mountPoints("/sys")
	if err != nil {
		return err
	}
	type tree struct {
		fd   int
		path string
	}
	var trees []tree
	for _, p := range points {
		covered := len(trees) > 0 && within(p, trees[len(trees)-1].path)
		if p == "/sys" || covered {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, p, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err == unix.ENOENT || err == unix.EINVAL { // hidden by another mount; unbindable
			continue
		}
		if err != nil {
			return failed("take along "+p, err)
		}
		defer unix.Close(fd)
		trees = append(trees, tree{fd, p})
	}
	if err := mountNew("sysfs", "/sys", "sysfs", nosuid|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, t := range trees {
		err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, t.path, unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err != nil && err != unix.ENOENT {
			return failed("put back "+t.path, err)
		}
	}
	return nil
}

// mountPoints returns the mount points at folder and below, in the order of
// mounting: what is below comes after what is above, and others may stand
// between them.
func mountPoints(folder string) ([]string, error) {
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, failed("list mounts", err)
	}
	var points []string
	for m := range proc.Mounts(string(info)) {
		if within(m.Point, folder) {
			points = append(points, m.Point)
		}
	}
	return points, nil
}

// within reports whether path is folder or below it.
func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/' || folder == "/")
}
