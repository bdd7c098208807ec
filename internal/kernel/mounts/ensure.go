package mounts

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/failpoint"
)

// openIn opens a path below a folder, which symbolic links do not leave
// (openat2(2)).
func openIn(root int, path string, flags, mode uint64) (int, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// ensure opens the file at a path below root, and makes it, and what folders it
// needs, where it is absent. A symbolic link that leads to none has it made
// where it leads.
func ensure(root int, file string) (int, error) {
	if fd, err := openIn(root, file, unix.O_PATH, 0); err == nil {
		return fd, nil
	}
	at := leads(root, file)
	if err := ensureFolder(root, path.Dir(at)); err != nil {
		return -1, err
	}
	failpoint.Before("mounts.file")
	fd, err := openIn(root, at, unix.O_CREAT|unix.O_RDONLY|unix.O_NONBLOCK, 0o644)
	failpoint.After("mounts.file")
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return openIn(root, at, unix.O_PATH, 0)
}

// leads returns where the symbolic link at file leads, or file if it is none.
func leads(root int, file string) string {
	fd, err := openIn(root, file, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return file
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return file
	}
	to := string(buf[:n])
	if !strings.HasPrefix(to, "/") {
		to = path.Join("/", path.Dir(file), to) // "..", above the root, is the root
	}
	return strings.TrimPrefix(path.Clean(to), "/")
}

// ensureFolder makes a folder below root, and those above it.
func ensureFolder(root int, folder string) error {
	if folder == "." {
		return nil
	}
	if fd, err := openIn(root, folder, unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
		return unix.Close(fd)
	}
	if err := ensureFolder(root, path.Dir(folder)); err != nil {
		return err
	}
	above, err := openIn(root, path.Dir(folder), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(above)
	failpoint.Before("mounts.folder")
	err = unix.Mkdirat(above, path.Base(folder), 0o755)
	failpoint.After("mounts.folder")
	if err != nil {
		return fmt.Errorf("make folder %s: %w", folder, err)
	}
	return nil
}
