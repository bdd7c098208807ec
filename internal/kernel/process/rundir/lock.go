package rundir

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Bytes of the lock file. The locks are those of an open file description
// (fcntl(2), F_OFD_SETLK): the daemon takes them, the shim inherits them with
// the descriptor, and they are free again when the last copy is closed.
const (
	aliveByte    = 0 // held while the shim lives
	startingByte = 1 // held until the pid file is written or the start failed
)

// ErrBusy says that a shim holds the folder.
var ErrBusy = errors.New("the folder's container is running")

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// Lock takes the folder for a start. The file is to be handed to the shim. If
// a shim has it already, the error is ErrBusy.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	both := unix.Flock_t{Type: unix.F_WRLCK, Start: aliveByte, Len: 2}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &both)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrBusy
	}
	return nil, os.NewSyscallError("lock "+lockPath(dir), err)
}

// Started says on the shim's descriptor of the lock that the start is over.
func Started(fd int) error {
	l := unix.Flock_t{Type: unix.F_UNLCK, Start: startingByte, Len: 1}
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l)
}

// Held reports whether a shim holds the folder.
func Held(dir string) (bool, error) {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_RDLCK, Start: aliveByte, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return false, os.NewSyscallError("test lock "+f.Name(), err)
	}
	return l.Type != unix.F_UNLCK, nil
}

// AwaitStart blocks until no start is under way: some milliseconds.
func AwaitStart(dir string) error {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // lets go of the lock, too
	for {
		l := unix.Flock_t{Type: unix.F_RDLCK, Start: startingByte, Len: 1}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &l)
		if err != unix.EINTR {
			return os.NewSyscallError("await lock "+f.Name(), err)
		}
	}
}
