package rundir

import (
	"os"
	"testing"

	"github.com/catenet/catenet/test/bounds"
)

// FuzzRecords: what is read as a record or an exit is written the same.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("7 4711 8 4712\n"))
	f.Add([]byte("137 2026-01-02T15:04:05.678Z\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		for _, path := range []string{pidPath(dir), exitPath(dir)} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		bounds.Parse(t, len(b), func() {
			if r, err := ReadRecord(dir); err == nil {
				if err := WriteRecord(dir, r); err != nil {
					t.Fatal(err)
				}
				if again, err := ReadRecord(dir); err != nil || again != r {
					t.Errorf("%+v came back as %+v, %v", r, again, err)
				}
			}
			if e, err := ReadExit(dir); err == nil {
				if err := WriteExit(dir, e); err != nil {
					t.Fatal(err)
				}
				if again, err := ReadExit(dir); err != nil || again.Code != e.Code || !again.Finished.Equal(e.Finished) {
					t.Errorf("%+v came back as %+v, %v", e, again, err)
				}
			}
		})
	})
}
