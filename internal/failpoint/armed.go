//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Folder is the environment variable that names the folder of two files: in
// Passed each point is noted, a line each, and Die says at which to die, as
// "before nft.commit 2" does: at the second of those in Passed. Who asks for
// another round removes Passed.
const (
	Folder = "CATENET_FAILPOINTS"
	Passed = "passed"
	Die    = "die"
)

// passing lets one point at a time be noted: behind one that dies nobody
// passes any other.
var passing sync.Mutex

// Before notes that a door is about to be passed.
func Before(door string) { pass("before " + door) }

// After notes that a door was passed.
func After(door string) { pass("after " + door) }

func pass(point string) {
	dir := os.Getenv(Folder)
	if dir == "" {
		return
	}
	passing.Lock()
	defer passing.Unlock()
	f, err := os.OpenFile(filepath.Join(dir, Passed), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, point); err != nil {
		panic(err)
	}
	die, err := os.ReadFile(filepath.Join(dir, Die))
	if err != nil || !strings.HasPrefix(string(die), point+" ") {
		return
	}
	noted, err := os.ReadFile(f.Name())
	if err != nil {
		panic(err)
	}
	times := 0
	for line := range strings.Lines(string(noted)) {
		if line == point+"\n" {
			times++
		}
	}
	if string(die) != fmt.Sprintf("%s %d", point, times) {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	_ = self.Kill()
	select {} // until the signal is here
}
