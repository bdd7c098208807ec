package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/catenet/catenet"
)

// names of the files of a class, the database first.
func (c Class) paths(o Options) []string {
	if c == Durable {
		return []string{filepath.Join(o.StateDir, "catenet.db"), filepath.Join(o.StateDir, "catenet.journal"), filepath.Join(o.RunDir, "catenet.journal")}
	}
	return []string{filepath.Join(o.RunDir, "live.db"), filepath.Join(o.RunDir, "live.journal")}
}

// filled writes 200 records into both files, changes some, and closes them. It
// returns what they have.
func filled(t *testing.T, o Options) map[string]item {
	t.Helper()
	s := open(t, o)
	all := make(map[string]item)
	for _, c := range []Class{Durable, Live} {
		if err := s.Update(c, func(tx *Tx) error {
			for i := range 198 {
				all[fmt.Sprint(i)] = item{strings.Repeat("x", 200), i}
				if err := tx.Put("a", fmt.Sprint(i), all[fmt.Sprint(i)]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(c, func(tx *Tx) error { return tx.Delete("a", "17") }); err != nil {
			t.Fatal(err)
		}
		put(t, s, c, "a", "18", item{"changed", 18})
		put(t, s, c, "a", "last", item{"last", 1})
	}
	delete(all, "17")
	all["18"], all["last"] = item{"changed", 18}, item{"last", 1}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// damages are what may befall a file.
var damages = map[string]func(b []byte) []byte{
	"no database":       func([]byte) []byte { return []byte("hello, world") },
	"empty":             func([]byte) []byte { return nil },
	"zeros":             func(b []byte) []byte { return make([]byte, len(b)) },
	"a third of it":     func(b []byte) []byte { return b[:len(b)/3] },
	"one page":          func(b []byte) []byte { return b[:4096] },
	"two pages":         func(b []byte) []byte { return b[:8192] },
	"pages overwritten": func(b []byte) []byte { copy(b[8192:], bytes.Repeat([]byte{0xff}, len(b)-8192)); return b },
	"pages zeroed":      func(b []byte) []byte { clear(b[8192:]); return b },
	"both metas":        func(b []byte) []byte { clear(b[:8192]); return b },
	"the first meta":    func(b []byte) []byte { clear(b[:4096]); return b },
	"the second meta":   func(b []byte) []byte { clear(b[4096:8192]); return b },
	// bbolt goes back to the other one then, and so by an update.
	"sum of the first meta":  func(b []byte) []byte { b[72] ^= 1; return b },
	"sum of the second meta": func(b []byte) []byte { b[4096+72] ^= 1; return b },
	"a record is no JSON":    func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`{"name"`), []byte(`<"name"`)) },
	"a record is another":    func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`changed`), []byte(`derange`)) },
	"absent":                 nil,
}

// TestACorruptFileIsMadeAnew with all that it had, and kept aside as it is.
func TestACorruptFileIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, do := range damages {
		for _, c := range []Class{Durable, Live} {
			t.Run(fmt.Sprint(name, c), func(t *testing.T) {
				t.Parallel()
				o := folders(t)
				var said bytes.Buffer
				o.Log = slog.New(slog.NewTextHandler(&said, nil))
				want := filled(t, o)
				s := open(t, o)
				node := s.NodeID()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				path := c.paths(o)[0]
				bad := damage(t, path, do)
				said.Reset()
				s = open(t, o)
				expect(t, s, c, "a", want)
				if s.NodeID() != node {
					t.Error("the node is another one")
				}
				put(t, s, c, "a", "1", item{Name: "new"})
				kept, _ := filepath.Glob(path + asideMark + "*")
				if len(bad) == 0 {
					if len(kept) != 0 {
						t.Errorf("nothing was kept as %q", kept)
					}
					return
				}
				if strings.HasSuffix(name, "meta") && len(kept) == 0 {
					return // that of the update before the last: nothing is lost
				}
				if len(kept) != 1 {
					t.Fatalf("kept aside: %v, want one file", kept)
				}
				if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, bad) {
					t.Errorf("what was kept is not what was there: %v", err)
				}
				if w := strings.Join(s.Warnings(), "\n"); !strings.Contains(w, kept[0]) {
					t.Errorf("the warnings are %q", w)
				}
				if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), kept[0]) {
					t.Errorf("the log says %q", said.String())
				}
			})
		}
	}
}

// damage does to a file what do says, nil removes it, and returns what is left.
func damage(t *testing.T, path string, do func([]byte) []byte) []byte {
	t.Helper()
	if do == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A file has megabytes of zeros behind what was ever written to it.
	used := (len(bytes.TrimRight(b, "\x00")) + 4095) / 4096 * 4096
	b = do(b[:min(used, len(b))])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGarbageAnywhere overwrites some bytes of the file, or cuts it, at random:
// no record is lost, and none is another than was written.
func TestGarbageAnywhere(t *testing.T) {
	t.Parallel()
	o := folders(t)
	want := filled(t, o)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	before := make(map[string][]byte)
	for _, path := range append(Durable.paths(o), Live.paths(o)...) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[path] = b
	}
	damaged := 0
	for range 60 {
		for path, b := range before {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		damage(t, Live.paths(o)[0], func(b []byte) []byte {
			at := random.IntN(len(b))
			if random.IntN(8) == 0 {
				return b[:at]
			}
			for i := range b[at:min(len(b), at+1<<random.IntN(13))] {
				b[at+i] = byte(random.Uint32())
			}
			return b
		})
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, s, Live, "a", want)
		if len(s.Warnings()) > 0 {
			damaged++
		}
		for _, kept := range asides(o) {
			if err := os.Remove(kept); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if damaged < 15 {
		t.Errorf("only %d of 60 were noticed: this test proves little", damaged)
	}
}

func asides(o Options) (all []string) {
	for _, c := range []Class{Durable, Live} {
		kept, _ := filepath.Glob(c.paths(o)[0] + asideMark + "*")
		all = append(all, kept...)
	}
	return all
}

// TestNothingIsLeft of the file and its journals: a new one is begun.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	o := folders(t)
	filled(t, o)
	for _, path := range append(Durable.paths(o), Live.paths(o)...) {

		damage(t, path, func(b []byte) []byte { return bytes.Repeat([]byte("no line\n"), len(b)/8) })
	}
	s := open(t, o)
	expect(t, s, Live, "a", map[string]item{})
	expect(t, s, Durable, "a", map[string]item{})
	put(t, s, Live, "a", "1", item{Name: "x"})
}

// TestAnOlderFileThanItsJournal, as of a backup or a disk that lies, is not
// taken for the truth.
func TestAnOlderFileThanItsJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []Class{Durable, Live} {
		o := folders(t)
		s := open(t, o)
		put(t, s, c, "a", "1", item{Name: "early"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		path := c.paths(o)[0]
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s = open(t, o)
		put(t, s, c, "a", "2", item{Name: "late"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, o)
		expect(t, s, c, "a", map[string]item{"1": {Name: "early"}, "2": {Name: "late"}})
		if kept, _ := filepath.Glob(path + asideMark + "*"); len(kept) != 1 {
			t.Errorf("kept aside: %q, want the old file", kept)
		}
	}
}

// TestTheStateFolderIsLost as a whole, while the machine runs.
func TestTheStateFolderIsLost(t *testing.T) {
	t.Parallel()
	o := folders(t)
	want := filled(t, o)
	if err := os.RemoveAll(o.StateDir); err != nil {
		t.Fatal(err)
	}
	expect(t, open(t, o), Durable, "a", want)
}

// TestAJournalWithGarbageInIt still tells of the other updates.
func TestAJournalWithGarbageInIt(t *testing.T) {
	t.Parallel()
	o := folders(t)
	want := filled(t, o)
	paths := Live.paths(o)
	damage(t, paths[0], damages["zeros"])
	damage(t, paths[1], func(b []byte) []byte {
		b = bytes.Replace(b, []byte("changed"), []byte("derange"), 1)
		return b[:len(b)-3]
	})
	want["18"] = item{strings.Repeat("x", 200), 18}
	delete(want, "last")
	expect(t, open(t, o), Live, "a", want)
}

// TestAJournalGoesWithItsFile also when the disk was full for a while, and does
// not grow without end.
func TestAJournalGoesWithItsFile(t *testing.T) {
	t.Parallel()
	o := folders(t)
	s := open(t, o)
	j := s.files[Live].journals[0]
	for i := range 3000 {
		put(t, s, Live, "a", fmt.Sprint(i%10), item{strings.Repeat("x", 1000), i})
		if i == 1500 {
			j.f.Close() // no write of its own can succeed any more
			put(t, s, Live, "a", "during", item{Name: "x"})
			if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "second copy") {
				t.Errorf("warnings %q", w)
			}
			j.f = nil
		}
	}
	if w := s.Warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
	if info, err := os.Stat(j.path); err != nil || info.Size() > 2*journalRoom {
		t.Errorf("the journal of eleven records is %d bytes, %v", info.Size(), err)
	}
	want, err := Load[item](s, Live, "a")
	if err != nil || len(want) != 11 {
		t.Fatalf("%d records, %v", len(want), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, Live.paths(o)[0], damages["zeros"])
	expect(t, open(t, o), Live, "a", want)
}

// TestRecordsOfSchema1: a file that a daemon of that schema has written.
func TestRecordsOfSchema1(t *testing.T) {
	t.Parallel()
	o := folders(t)
	if err := os.Mkdir(o.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("testdata/schema-1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := Durable.paths(o)[0]
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	was := schema1(t, path)
	for range 2 { // as the old and as the new
		s := open(t, o)
		networks, err := Load[catenet.Network](s, Durable, "network")
		if err != nil || len(networks) != 4 {
			t.Fatalf("%d networks, %v", len(networks), err)
		}
		containers, err := Load[catenet.Sandbox](s, Durable, "container")
		if err != nil || len(containers) != 1 {
			t.Fatalf("%d containers, %v", len(containers), err)
		}
		for id, n := range networks {
			var want catenet.Network
			if err := json.Unmarshal(was["network/"+id], &want); err != nil || n.Name != want.Name || n.Created != want.Created {
				t.Errorf("was %+v, is %+v, %v", want, n, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if kept := asides(o); len(kept) > 0 {
		t.Errorf("kept aside: %q", kept)
	}
}

// schema1 reads the records of a file of schema 1.
func schema1(t *testing.T, path string) map[string][]byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := make(map[string][]byte)
	if err := db.View(func(tx *bbolt.Tx) error {
		if got := string(tx.Bucket(bucketMeta).Get(keySchema)); got != "1" {
			t.Errorf("the schema is %q", got)
		}
		return tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
			all[string(k)] = bytes.Clone(v)
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
