package catenet

import (
	"errors"
	"syscall"
)

// Unwritable gives an error of a file system that takes nothing (ENOSPC,
// EDQUOT, EROFS of write(2)) its kind and its next step. Any other, and nil, it
// returns as it is, and so one that has a next step already.
func Unwritable(err error) error {
	for errno, hint := range map[syscall.Errno]string{
		syscall.ENOSPC: "free some space on that file system: nothing was changed",
		syscall.EDQUOT: "free some space on that file system: nothing was changed",
		syscall.EROFS:  "the file system is read-only: mount it read-write, or choose another folder (--state-dir, --run-dir)",
	} {
		if errors.Is(err, errno) && HintOf(err) == "" {
			return Errorf(KindUnavailable, "%w", err).WithHint("%s", hint)
		}
	}
	return err
}
