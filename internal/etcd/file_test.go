package etcd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// What has no end, or keeps who opens it waiting, is not read.
func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, big, good := filepath.Join(dir, "pipe"), filepath.Join(dir, "big"), filepath.Join(dir, "good")
	err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(good, []byte("me:secret"), 0o600), os.WriteFile(big, nil, 0o600), os.Truncate(big, maxFile+1))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/null", pipe, big, dir} {
		if _, err := ReadFile(path); !catenet.IsInvalid(err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := ReadFile(good); err != nil || string(text) != "me:secret" {
		t.Errorf("a file: %q, %v", text, err)
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
