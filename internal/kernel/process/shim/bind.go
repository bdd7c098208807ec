package shim

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// bind is a file of the host on its way into the container: a mount that is
// attached nowhere yet (open_tree(2)), so that no path of the host is looked
// up again once the root has changed.
type bind struct {
	tree   int
	target string
}

type binds []bind

// openSources takes hold of the files to bind.
func openSources(files []Bind) (binds, error) {
	var bs binds
	for _, f := range files {
		if !filepath.IsAbs(f.Target) {
			return nil, &Failure{Kind: Invalid, Msg: "the place " + f.Target + " of a file in the container is no absolute path"}
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, f.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, failed("open "+f.Source+" for "+f.Target, err)
		}
		bs = append(bs, bind{fd, f.Target})
	}
	return bs, nil
}

// mount attaches the files. In a root file system of the container's own
// folders that are missing are made.
func (bs binds) mount(own bool) error {
	for _, b := range bs {
		target, err := openTarget(b.target, own)
		if err != nil {
			return err
		}
		err = unix.MoveMount(b.tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(target)
		unix.Close(b.tree)
		if err != nil {
			return failed("bind "+b.target, err)
		}
	}
	return nil
}

// maxLinks is how many symbolic links in a row are followed, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// openTarget opens the file that path means inside, symbolic links followed,
// and makes an empty one if there is none: a link to a file that does not
// exist is quite usual, as with /etc/resolv.conf. An empty hosts, resolv.conf
// or hostname means the same as none.
//
// The root is the container's by now, so that no link leads out of it. Links
// of /proc, which could, are refused.
func openTarget(path string, own bool) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	for asked, i := path, 0; i < maxLinks; i++ {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, how)
		if !errors.Is(err, unix.ENOENT) {
			return fd, failed("open "+asked+" in the container", err)
		}
		dir := filepath.Dir(path)
		if own {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return -1, failed("make the folder of "+asked+" in the container", err)
			}
		}
		if to, err := os.Readlink(path); err == nil {
			if path = to; !filepath.IsAbs(to) {
				path = filepath.Join(dir, to)
			}
			continue
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrNotExist) {
			return -1, &Failure{Kind: NotFound, Msg: "the host has no " + asked + " to put the container's own over: " + dir + " does not exist",
				Hint: "make " + asked + " a file, which may be empty"}
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return -1, failed("make "+asked+" in the container", err)
		}
		f.Close()
	}
	return -1, &Failure{Kind: Invalid, Msg: path + " in the container: too many symbolic links"}
}
