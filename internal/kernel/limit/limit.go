// Package limit says which limit a daemon has run into, and how to raise it.
package limit

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// raise is how the limit of one process is raised.
const raise = "each published port and each container needs some: raise LimitNOFILE= in catenet.service (systemd), or ulimit -n where catenetd is started, and start it again"

// Enough returns an exhausted error if this process may not have n files open.
func Enough(n int) error {
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if uint64(n) > most.Cur {
		return catenet.Errorf(catenet.KindExhausted, "too few open files are allowed: catenetd may have %d, and needs %d", most.Cur, n).WithHint("%s", raise)
	}
	return nil
}

// Files gives an error that says that no more files can be opened (EMFILE and
// ENFILE of open(2), socket(2)) its kind and its remedy; any other, and nil,
// it returns as they are. Each published port is a held socket, and each
// sandbox's resolver two.
func Files(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE):
		var most unix.Rlimit
		if rerr := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); rerr != nil {
			return errors.Join(err, rerr)
		}
		return catenet.Errorf(catenet.KindExhausted, "%w: catenetd may have %d", err, most.Cur).WithHint("%s", raise)
	case errors.Is(err, unix.ENFILE):
		return catenet.Errorf(catenet.KindExhausted, "%w", err).WithHint("this machine may have no more open files: raise the sysctl fs.file-max")
	}
	return err
}
