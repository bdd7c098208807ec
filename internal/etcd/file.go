package etcd

import (
	"os"

	"github.com/catenet/catenet"
)

// maxFile bounds a file that an option names, in bytes: a list of all the world's
// certificate authorities has a quarter of it.
const maxFile = 1 << 20

// ReadFile reads a file that somebody has named by an option: no device and no pipe,
// which may have no end, and which no file can be put in the place of.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, catenet.Invalidf("%s is no file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}
