package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestALinkToAnotherCgroupIsReplaced: that cgroup may be gone, and the link
// then leads nowhere, or it holds none of those who are to be served.
func TestALinkToAnotherCgroupIsReplaced(t *testing.T) {
	if !atHost(t) {
		return
	}
	greetTCP(t, "192.0.2.2:80")
	root, err := findCgroup("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(root, fmt.Sprint("catenet-test-", os.Getpid()))
	for _, dead := range []bool{true, false} {
		if err := os.Mkdir(other, 0o755); err != nil {
			t.Fatal(err)
		}
		o := options(t)
		o.Cgroup = other
		first, err := Open(o)
		if err != nil {
			t.Fatal(errors.Join(err, unix.Rmdir(other)))
		}
		set(t, first, ports(published("tcp", "127.0.0.1:8080", "192.0.2.2:80")), nil)
		first.Close()
		if dead {
			err = unix.Rmdir(other)
		}
		second := open(t)
		if _, _, err := greeting("127.0.0.1:8080"); err != nil {
			t.Errorf("the other cgroup is gone: %v; the port is not served: %v", dead, err)
		}
		second.Close()
		if !dead {
			err = unix.Rmdir(other)
		}
		if err := errors.Join(err, Remove(o.Dir)); err != nil {
			t.Fatal(err)
		}
	}
}
