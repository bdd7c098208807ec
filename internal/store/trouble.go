package store

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/catenet/catenet"
)

// asideMark and a time follow a corrupt file's name under which it is kept.
const asideMark = ".corrupt-"

// Warnings tells of files that are kept aside, and of records that have no
// second copy.
func (s *Store) Warnings() (all []string) {
	for _, f := range s.files {
		kept, _ := filepath.Glob(f.path + asideMark + "*") // fails only over a pattern
		for _, path := range kept {
			all = append(all, fmt.Sprintf("records were damaged: the file is kept as %s, and what its journal had is restored; remove it once nobody needs it", path))
		}
		f.mu.Lock()
		for _, j := range f.journals {
			if j.err != nil {
				all = append(all, fmt.Sprintf("records have no second copy in %s: %v", j.path, j.err))
			}
		}
		f.mu.Unlock()
	}
	return all
}

// opening says why a file cannot be opened.
func opening(path string, err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return catenet.Conflictf("the folder %s is in use by %s", filepath.Dir(path), lockHolder(path)).
			WithHint("stop that one, or give this daemon folders of its own (--state-dir, --run-dir)")
	}
	return unwritable("open "+path, err)
}

// unwritable gives a kind to the errors of a file system that takes nothing.
func unwritable(what string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok && strings.HasSuffix(what, at.Path) {
		err = at.Err // the file is named already
	}
	err = fmt.Errorf("%s: %w", what, err)
	if errors.Is(err, fs.ErrPermission) {
		return catenet.Errorf(catenet.KindUnavailable, "%w", err).
			WithHint("catenetd runs as root; choose a folder that it may write to (--state-dir, --run-dir)")
	}
	return catenet.Unwritable(err)
}

// lockHolder names the process that has the file locked, from /proc/locks:
//
//	1: FLOCK  ADVISORY  WRITE 1234 00:1f:56789 0 EOF
//
// The device there is not always the one that stat tells (btrfs, overlayfs),
// so the inode must do.
func lockHolder(path string) string {
	const somebody = "another process"
	info, err := os.Stat(path)
	if err != nil {
		return somebody
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return somebody
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return somebody
	}
	defer locks.Close()
	inode := ":" + strconv.FormatUint(stat.Ino, 10)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], inode) {
			continue
		}
		name, err := os.ReadFile(filepath.Join("/proc", f[4], "comm"))
		if err != nil {
			return "process " + f[4]
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), f[4])
	}
	return somebody
}
