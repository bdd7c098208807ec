package shim

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// enterRootfs makes root, with all that is mounted in it, the root of the
// mount namespace, and gives it the file systems that programs expect.
// Nothing of the host's tree is left. Everything below is done with the new
// root in place: what root's symbolic links say leads nowhere else.
func enterRootfs(root string) error {
	if err := checkRootfs(root); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return failed("open root file system "+root, err)
	}
	// pivot_root(2) wants a mount, not only a folder.
	err = unix.MoveMount(tree, "", unix.AT_FDCWD, root, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err == nil {
		err = unix.Fchdir(tree)
	}
	unix.Close(tree)
	if err != nil {
		return failed("mount root file system "+root, err)
	}
	// Both at one place: the old root lies on top of the new one then.
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("change root to "+root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("leave the host's file system", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return failed("enter the root file system", err)
	}
	return dressRootfs()
}

func checkRootfs(root string) error {
	st, err := os.Stat(root)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return &Failure{Kind: NotFound, Msg: "the root file system " + root + " does not exist"}
	}
	if err != nil {
		return failed("look at the root file system", err)
	}
	if !st.IsDir() {
		return &Failure{Kind: Invalid, Msg: "the root file system " + root + " is no folder",
			Hint: "unpack it: a root file system is a folder with bin, etc and so on in it"}
	}
	host, err := os.Stat("/")
	if err == nil && os.SameFile(st, host) {
		return &Failure{Kind: Invalid, Msg: "the root file system " + root + " is the host's own",
			Hint: "leave it out: a container runs on the host's file system then"}
	}
	return nil
}

// dressRootfs mounts what a root file system has from the kernel.
func dressRootfs() error {
	const locked = nosuid | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		target, fstype string
		flags          uintptr
		data           string
	}{
		{"/dev", "tmpfs", nosuid | unix.MS_STRICTATIME, "mode=755,size=64k"},
		{"/dev/pts", "devpts", nosuid | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"/dev/shm", "", 0, ""}, // by mountIPC
		{"/dev/mqueue", "", 0, ""},
		{"/sys", "sysfs", locked | unix.MS_RDONLY, ""},
		{"/proc", "proc", locked, ""},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return failed("make "+m.target+" in the root file system", err)
		}
		if m.fstype == "" {
			continue
		}
		if err := mountNew(m.fstype, m.target, m.fstype, m.flags, m.data); err != nil {
			return err
		}
	}
	if err := mountIPC(); err != nil {
		return err
	}
	return fillDev()
}

// fillDev makes the devices that every program may count on
// (Documentation/admin-guide/devices.txt).
func fillDev() error {
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	} {
		path := "/dev/" + d.name
		err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor)))
		if err == nil {
			err = unix.Chmod(path, 0o666) // mknod minds the umask
		}
		if err != nil {
			return failed("make "+path, err)
		}
	}
	for _, l := range [][2]string{
		{"pts/ptmx", "/dev/ptmx"}, {"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		if err := os.Symlink(l[0], l[1]); err != nil {
			return failed("make "+l[1], err)
		}
	}
	return nil
}
