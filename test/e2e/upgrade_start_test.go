package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/test/lab"
)

// TestAnUpgradeThatComesEarly is heeded when the start that it meets is done:
// the program may be a newer one by then. The start is held by a journal that has
// no end yet.
func TestAnUpgradeThatComesEarly(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	journal := filepath.Join(g.a.RunDir(), "catenet.journal")
	if err := os.MkdirAll(g.a.RunDir(), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(journal, 0o600); err != nil {
		t.Fatal(err)
	}
	g.a.StartDaemon()
	var end *os.File
	g.Eventually(soon, func() string { // until somebody reads it
		fd, err := unix.Open(journal, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err.Error()
		}
		end = os.NewFile(uintptr(fd), journal)
		return ""
	})
	g.a.Upgrade()
	if err := os.Remove(journal); err != nil {
		t.Error(err)
	}
	if err := end.Close(); err != nil {
		t.Error(err)
	}
	g.Eventually(soon, func() string {
		if strings.Count(g.a.Log(), "catenetd serves") < 2 {
			return "the signal is lost:\n" + g.a.Log()
		}
		return ""
	})
	g.a.Catenet("network", "ls")
}
