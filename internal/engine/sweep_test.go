package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet"
)

// TestAStartSweepsFoldersThatNobodyKnows and leaves those of what runs.
func TestAStartSweepsFoldersThatNobodyKnows(t *testing.T) {
	w := newWorld(t)
	st, err := w.run(catenet.SandboxSpec{Name: "c"})
	must(t, err)
	for _, id := range []string{st.ID, "stranger"} {
		for _, dir := range []string{w.filesDir(id), w.processDir(id)} {
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
		}
	}
	w.restart()
	for id, want := range map[string]bool{st.ID: true, "stranger": false} {
		for _, dir := range []string{w.filesDir(id), w.processDir(id)} {
			if _, err := os.Stat(filepath.Join(dir, "file")); (err == nil) != want {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
}
