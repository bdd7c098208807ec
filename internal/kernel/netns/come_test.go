package netns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCome: a namespace is noticed when it is bound to a path, and neither the
// file before that nor something else is taken for one.
func TestCome(t *testing.T) {
	n := New()
	path := filepath.Join(t.TempDir(), "late")
	come := make(chan error, 1)
	go func() { come <- n.Come(t.Context(), path) }()
	if err := os.WriteFile(path, nil, 0o600); err != nil { // first there is a file, to bind it over
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Dir(path), "tmpfs", 0, ""); err != nil { // and mounts that are none of it
		t.Fatal(err)
	}
	stillThere(t, come)
	if err := unix.Unmount(filepath.Dir(path), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, 0)
	select {
	case err := <-come:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("nobody noticed that it came")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Come(ctx, path+"-never"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
