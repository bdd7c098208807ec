package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// Lab is one test's hosts.
type Lab struct {
	T   testing.TB
	Dir string // everything of this lab; short, because socket paths end at 107 bytes
	ID  string // begins every name that the machine shares
	// hosts in the order they were made
	hosts []*Host
	wires int
}

var count atomic.Int64

// New makes a lab that is taken down, and its ledger checked, when the test
// ends.
func New(t testing.TB) *Lab {
	t.Helper()
	l := &Lab{T: t, ID: fmt.Sprintf("c%d-%d", os.Getpid(), count.Add(1))}
	dir, err := os.MkdirTemp("/tmp", "cn-"+l.ID+"-")
	if err != nil {
		t.Fatal(err)
	}
	l.Dir = dir
	t.Cleanup(l.close)
	return l
}

// Name returns a name that no other lab of this machine has, for what stands
// in a shared place such as /run/netns.
func (l *Lab) Name(s string) string { return l.ID + "-" + s }

// Host makes a host. Until Daemon is called it is a plain machine.
func (l *Lab) Host(name string) *Host {
	l.T.Helper()
	h := &Host{Name: name, Dir: filepath.Join(l.Dir, name), lab: l, NS: kerneltest.New(l.T)}
	if err := os.Mkdir(h.Dir, 0o755); err != nil {
		l.T.Fatal(err)
	}
	l.hosts = append(l.hosts, h)
	// Registered after kerneltest's own, so it runs while the namespace is
	// still there.
	l.T.Cleanup(h.close)
	return h
}

// close is the last thing of a lab: whatever is still there is a leak.
func (l *Lab) close() {
	for _, leak := range l.leaks() {
		l.T.Errorf("left behind: %s", leak)
	}
	if l.T.Failed() && os.Getenv("LAB_KEEP") != "" {
		l.T.Logf("kept: %s", l.Dir)
		return
	}
	l.sweep()
	if err := os.RemoveAll(l.Dir); err != nil {
		l.T.Errorf("remove lab: %v", err)
	}
}
