package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/bounds"
)

// FuzzLogs: what is no entry of a log is passed over.
func FuzzLogs(f *testing.F) {
	f.Add([]byte(`{"log":"hello\n","stream":"stdout","time":"2026-01-02T15:04:05Z"}`+"\n{torn"), 1)
	f.Add([]byte("\n\n\x00"), -1)
	f.Fuzz(func(t *testing.T, b []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		bounds.Parse(t, len(b), func() {
			err := Logs(t.Context(), path, catenet.LogOptions{Tail: tail}, nil, func(_ string, _ time.Time, line []byte) error {
				if len(line) > 3*len(b) {
					t.Errorf("a line of %d bytes in %d", len(line), len(b))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	})
}
