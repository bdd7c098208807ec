package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/catenet/catenet"
)

// alone has this program be the only one that looks after a network of the daemon at a
// socket, by a lock that goes with it, however it ends: two with other flags would make
// the network anew in turns, for ever. It returns what lets go.
func alone(socket, network string) (release func(), err error) {
	path := filepath.Join(filepath.Dir(strings.TrimPrefix(socket, "unix://")), "flanneld-"+network+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("lock network %s: %w", network, err)
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock network %s: %w", network, err)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = catenet.Conflictf("another catenet flanneld looks after network %s", network).
				WithHint("a second network needs a --network and a --subnet-file of its own")
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if still(f, path) {
			return func() { _ = os.Remove(path); _ = f.Close() }, nil // nobody else had it
		}
		if err := f.Close(); err != nil { // who had it has removed it
			return nil, fmt.Errorf("lock network %s: %w", network, err)
		}
	}
}

// still reports whether the file is the one at path.
func still(f *os.File, path string) bool {
	ours, err := f.Stat()
	there, gone := os.Stat(path)
	return err == nil && gone == nil && os.SameFile(ours, there)
}
