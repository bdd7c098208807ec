package store

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet/test/bounds"
)

// FuzzJournal: whatever a journal says, its lines that are whole count, and no
// others.
func FuzzJournal(f *testing.F) {
	line, err := entry{Meta: map[string]string{"schema": "2"}, Records: map[string]json.RawMessage{"a/b": []byte("{}")}}.line(7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(line[:len(line)-3:len(line)-3], line...))
	f.Fuzz(func(t *testing.T, lines []byte) {
		bounds.Parse(t, len(lines), func() {
			last := lastUpdate(lines)
			all, lost := replay(lines)
			if last == 0 && len(all.Meta)+len(all.Records) > 0 || last < 0 || lost < 0 {
				t.Errorf("update %d, %+v", last, all)
			}
		})
	})
}

// FuzzFile: a file is one of ours or corrupt, whatever is in it.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "x.db")
	db, err := tryOpen(path, true)
	if err != nil {
		f.Fatal(err)
	}
	made := &file{db: db, path: path, log: slog.New(slog.DiscardHandler)}
	if err := errors.Join(made.migrate(migrations()), made.close()); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte("garbage"))
	f.Add(uint32(8192+12), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint32(3*4096), make([]byte, 64))
	f.Fuzz(func(t *testing.T, at uint32, garbage []byte) {
		path := filepath.Join(t.TempDir(), "x.db")
		b := append([]byte{}, good...)
		copy(b[int(at)%len(b):], garbage)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := tryOpen(path, true)
		if err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !begun(db) {
			if err := db.Close(); err != nil { // as empty as it was before its first update
				t.Error(err)
			}
			return
		}
		left := &file{db: db, path: path}
		if err := errors.Join(left.update(func(tx *Tx) error { return tx.Put("a", "b", 1) }), left.close()); err != nil {
			t.Error(err)
		}
	})
}
