package engine

import (
	"errors"
	"os"

	"github.com/catenet/catenet/internal/failpoint"
)

// These are the doors by which the engine itself changes files and folders.

// makeFolder makes a folder and those above it.
func makeFolder(path string, mode os.FileMode) error {
	failpoint.Before("engine.folder")
	err := os.MkdirAll(path, mode)
	failpoint.After("engine.folder")
	return err
}

// makeFile makes an empty file that root alone may read; one that is there
// stays.
func makeFile(path string) error {
	failpoint.Before("engine.file")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	failpoint.After("engine.file")
	if err != nil {
		return err
	}
	return f.Close()
}

// removeFile removes a file or an empty folder. An absent one is no error, a
// folder that something is in is an os.ErrExist.
func removeFile(path string) error {
	failpoint.Before("engine.remove")
	err := os.Remove(path)
	failpoint.After("engine.remove")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeAll removes what is at path, and everything in it.
func removeAll(path string) error {
	failpoint.Before("engine.erase")
	err := os.RemoveAll(path)
	failpoint.After("engine.erase")
	return err
}
