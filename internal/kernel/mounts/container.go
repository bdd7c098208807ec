package mounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
)

// container is a process whose mounts we see.
type container struct {
	number int // its process
	pid    int // the same, as a descriptor
	root   int // its root folder
}

// open opens the mounts of a process, which are not the daemon's own.
func open(ctx context.Context, t kernel.Target) (*container, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id := proc.Identity{PID: t.PID, Start: t.StartTime}
	gone := func(err error) error {
		if errors.Is(err, proc.ErrGone) || errors.Is(err, os.ErrNotExist) {
			return catenet.NotFoundf("there is no process %d any more", t.PID)
		}
		return fmt.Errorf("look at the mounts of process %d: %w", t.PID, err)
	}
	pid, err := id.Open()
	if err != nil {
		return nil, gone(err)
	}
	c := &container{number: t.PID, pid: pid, root: -1}
	c.root, err = unix.Open(fmt.Sprintf("/proc/%d/root", t.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	own, err2 := os.Readlink("/proc/self/ns/mnt")
	its, err3 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", t.PID))
	// The number was the process's as long as it is now.
	if now, err4 := proc.Identify(t.PID); err4 != nil || now != id {
		err = proc.ErrGone
	}
	if err = errors.Join(err, err2, err3); err != nil {
		c.close()
		return nil, gone(err)
	}
	if own == its {
		c.close()
		return nil, catenet.Invalidf("process %d sees the host's own files: there is nothing to lay over", t.PID).
			WithHint("leave --rootfs out; or start the process in a mount namespace of its own, as containers are")
	}
	return c, nil
}

func (c *container) close() {
	unix.Close(c.pid)
	if c.root >= 0 {
		unix.Close(c.root)
	}
}

// shared reports whether what is mounted on what is open would be mounted for us
// too: whether the mount that it lies in has a peer here (mount_namespaces(7)).
func (c *container) shared(fd int) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return false, os.NewSyscallError("statx", err)
	}
	its, err := table(strconv.Itoa(c.number))
	if err != nil {
		return false, err
	}
	ours, err := table("self")
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(its, func(m proc.Mount) bool { return m.ID == strconv.FormatUint(st.Mnt_id, 10) })
	return at >= 0 && its[at].Peers != "" && slices.ContainsFunc(ours, func(m proc.Mount) bool { return m.Peers == its[at].Peers }), nil
}

// table reads the mounts that a process sees.
func table(process string) ([]proc.Mount, error) {
	b, err := os.ReadFile("/proc/" + process + "/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return slices.Collect(proc.Mounts(string(b))), nil
}

// in opens a folder of the process.
func (c *container) in(folder string) (int, error) {
	return openIn(c.root, folder, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// enter runs fn on a thread in the mount namespace. The thread ends with it:
// one that has a file system view of its own (unshare(2), CLONE_FS) is of no
// use to others. The first thread of the program stays as it is, for what
// proc(5) shows of a process is what that one sees.
func (c *container) enter(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- c.enter(fn) // on another one, as we have this one
			runtime.UnlockOSThread()
			return
		}
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := unix.Setns(c.pid, unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("setns", err)
			}
			return fn()
		}()
	}()
	return <-done
}
