package names

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// maxPadding is the most that is filled up with empty lines, in bytes.
const maxPadding = 1 << 20

// WriteInPlace gives the file at path a new content and keeps the file: a
// bind mount of it shows the new content too. If there is none, one is made
// that all may read. An equal content is not written again.
//
// A reader never finds the file empty: the new content is written over the
// old, and what gets shorter is first filled up with empty lines, in the same
// write, and then cut. (A read at the very moment of the cut can see zero
// bytes in place of those empty lines, which C libraries pass over too.) A
// symbolic link is refused: it leads to a file that is somebody else's.
func WriteInPlace(path string, content []byte) (err error) {
	f, err := openInPlace(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if fi.Size() == int64(len(content)) {
		old := make([]byte, len(content))
		if _, err := f.ReadAt(old, 0); err == nil && bytes.Equal(old, content) {
			return nil
		}
	}
	failpoint.Before("names.write")
	_, err = f.WriteAt(padded(content, fi.Size()), 0)
	failpoint.After("names.write")
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if fi.Size() > int64(len(content)) {
		failpoint.Before("names.cut")
		err := f.Truncate(int64(len(content)))
		failpoint.After("names.cut")
		if err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// openInPlace opens the regular file at path, or makes it. What takes its place
// while it is looked at is not opened instead.
func openInPlace(path string) (*os.File, error) {
	seen, err := os.Lstat(path)
	how := os.O_RDWR
	switch {
	case errors.Is(err, fs.ErrNotExist):
		how |= os.O_CREATE | os.O_EXCL // follows no link
	case err != nil:
		return nil, fmt.Errorf("write file: %w", err)
	case !seen.Mode().IsRegular():
		return nil, catenet.Conflictf("write %s: it is no regular file", path).
			WithHint("remove it, and it is made anew")
	}
	failpoint.Before("names.open")
	f, err := os.OpenFile(path, how, 0o644)
	failpoint.After("names.open")
	if err != nil {
		return nil, fmt.Errorf("write file: %w", err)
	}
	if seen == nil {
		err = f.Chmod(0o644) // whatever the umask says
	} else if opened, serr := f.Stat(); serr != nil || !os.SameFile(seen, opened) {
		err = errors.Join(serr, catenet.Conflictf("%s was replaced meanwhile", path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write file: %w", err), f.Close())
	}
	return f, nil
}

// padded returns content filled up with empty lines to the size that the file
// has. Whoever can write into the file may have made it huge: not for him.
func padded(content []byte, size int64) []byte {
	more := size - int64(len(content))
	if more <= 0 || more > maxPadding {
		return content
	}
	return append(bytes.Clone(content), bytes.Repeat([]byte("\n"), int(more))...)
}
