// Package limit says which limit a daemon has run into, and how to raise it.
package limit

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

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
		return catenet.Errorf(catenet.KindExhausted, "%w: catenetd may have %d", err, most.Cur).
			WithHint("each published port and each container needs some: raise LimitNOFILE= in catenet.service (systemd), or ulimit -n where catenetd is started, and start it again")
	case errors.Is(err, unix.ENFILE):
		return catenet.Errorf(catenet.KindExhausted, "%w", err).WithHint("this machine may have no more open files: raise the sysctl fs.file-max")
	}
	return err
}
