package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// TestAnOrdinaryDaemonHasNoFailpoints: neither what reads where to die, nor
// the names of doors.
func TestAnOrdinaryDaemonHasNoFailpoints(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(filepath.Join(lab.Binaries(t), "catenetd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"CATENET_FAILPOINTS", "nft.commit", "netns.unpin", "store.prepare"} {
		if bytes.Contains(program, []byte(word)) {
			t.Errorf("catenetd has %q in it", word)
		}
	}
}
