package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

type item struct {
	Name string `json:"name"`
	N    int    `json:"n,omitempty"`
}

func folders(t testing.TB) Options {
	dir := t.TempDir()
	return Options{StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"), BootID: "boot-1", Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s *Store, c Class, kind Kind, id string, v any) {
	t.Helper()
	if err := s.Update(c, func(tx *Tx) error { return tx.Put(kind, id, v) }); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, s *Store, c Class, kind Kind, want map[string]item) {
	t.Helper()
	got, err := Load[item](s, c, kind)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records of %s:\n%s", kind, diff)
	}
}

func TestRecordsAreThereAfterReopening(t *testing.T) {
	t.Parallel()
	o := folders(t)
	s := open(t, o)
	for _, c := range []Class{Durable, Live} {
		put(t, s, c, "network", "1", item{"front", 1})
		put(t, s, c, "network", "2", item{"back", 2})
		put(t, s, c, "network", "1", item{"front", 3})
		put(t, s, c, "networks", "9", item{"a kind that begins alike", 9})
		if err := s.Update(c, func(tx *Tx) error {
			return errors.Join(tx.Delete("network", "2"), tx.Delete("network", "none"), tx.Put("network", "", item{Name: "no ID"}))
		}); err != nil {
			t.Fatal(err)
		}
	}
	id := s.NodeID()
	if len(id) != 64 {
		t.Errorf("the node's identity is %q", id)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	for _, c := range []Class{Durable, Live} {
		expect(t, s, c, "network", map[string]item{"1": {"front", 3}, "": {"no ID", 0}})
		expect(t, s, c, "networks", map[string]item{"9": {"a kind that begins alike", 9}})
		expect(t, s, c, "other", map[string]item{})
	}
	if s.NodeID() != id {
		t.Errorf("the node was %s and is %s", id, s.NodeID())
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := open(t, folders(t))
	mine := catenet.Invalidf("no")
	err := s.Update(Live, func(tx *Tx) error {
		if err := tx.Put("a", "1", item{Name: "x"}); err != nil {
			return err
		}
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("got %v, want the function's own error", err)
	}
	if err := s.Update(Live, func(tx *Tx) error { return tx.Put("a", "2", func() {}) }); err == nil {
		t.Error("something that is no JSON was put")
	}
	expect(t, s, Live, "a", map[string]item{})
}

func TestAnotherBootEmptiesTheLiveFile(t *testing.T) {
	t.Parallel()
	o := folders(t)
	s := open(t, o)
	put(t, s, Durable, "a", "1", item{Name: "stays"})
	put(t, s, Live, "a", "1", item{Name: "goes"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.BootID = "boot-2"
	s = open(t, o)
	expect(t, s, Durable, "a", map[string]item{"1": {Name: "stays"}})
	expect(t, s, Live, "a", map[string]item{})
}

func TestTheKernelTellsTheBoot(t *testing.T) {
	a, err := bootID("")
	b, _ := bootID("")
	if err != nil || len(a) != 36 || a != b {
		t.Errorf("the boot is %q, then %q, %v", a, b, err)
	}
}

func TestASecondDaemonIsToldWho(t *testing.T) {
	t.Parallel()
	o := folders(t)
	put(t, open(t, o), Durable, "network", "1", item{Name: "his"})
	_, err := Open(o)
	if !catenet.IsConflict(err) || !strings.Contains(err.Error(), o.RunDir) ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d)", os.Getpid())) || catenet.HintOf(err) == "" {
		t.Errorf("got %v, want a conflict that names process %d", err, os.Getpid())
	}
	other := o
	other.RunDir += "2"
	if _, err := Open(other); !catenet.IsConflict(err) || !strings.Contains(err.Error(), o.StateDir) {
		t.Errorf("got %v over the state folder, want a conflict", err)
	}
	// The journal that lies in the run folder is not for him either.
	other = o
	other.StateDir += "2"
	if _, err := Open(other); !catenet.IsConflict(err) || !strings.Contains(err.Error(), o.RunDir) {
		t.Errorf("got %v over the run folder, want a conflict", err)
	}
	other.RunDir += "2"
	expect(t, open(t, other), Durable, "network", map[string]item{})
}

func TestALaterSchemaIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	log := slog.New(slog.DiscardHandler)
	var ran []string
	step := func(name string) migration {
		return func(tx *bbolt.Tx) error {
			ran = append(ran, name)
			k := []byte("a/" + name)
			return tx.Bucket(bucketRecords).Put(k, seal(k, []byte("{}")))
		}
	}
	for _, c := range []struct {
		steps []migration
		ran   string
		later bool
	}{
		{nil, "[]", false},
		{[]migration{sealAll, step("2to3"), step("3to4")}, "[2to3 3to4]", false},
		{[]migration{sealAll, step("2to3"), step("3to4")}, "[]", false},
		{[]migration{sealAll, step("2to3")}, "[]", true},
		{[]migration{sealAll, step("2to3"), step("3to4"), step("4to5")}, "[4to5]", false},
	} {
		ran = nil
		f, err := openFile(path, false, nil, c.steps, log)
		if c.later {
			if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), "schema 4, this one knows 3") {
				t.Fatalf("got %v, want an unsupported error that tells both schemas", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(ran) != c.ran {
			t.Errorf("ran %v, want %s", ran, c.ran)
		}
		if err := f.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAFullDiskSaysSo fills a small tmpfs.
func TestAFullDiskSaysSo(t *testing.T) {
	o := folders(t)
	for _, dir := range []string{o.StateDir, o.RunDir} {
		mount(t, dir, 0, "size=256k")
	}
	s := open(t, o)
	for _, c := range []Class{Durable, Live} {
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			err = s.Update(c, func(tx *Tx) error { return tx.Put("a", fmt.Sprint(n), item{Name: strings.Repeat("x", 4000)}) })
		}
		if catenet.KindOf(err) != catenet.KindUnavailable || !errors.Is(err, unix.ENOSPC) || !strings.Contains(catenet.HintOf(err), "space") {
			t.Fatalf("after %d records: %v, want no space and a hint", n, err)
		}
		if got, err := Load[item](s, c, "a"); err != nil || len(got) != n-1 {
			t.Errorf("%d records are there, want %d, %v", len(got), n-1, err)
		}
	}
}

func TestAReadOnlyFolderSaysSo(t *testing.T) {
	o := folders(t)
	mount(t, o.StateDir, unix.MS_RDONLY, "")
	if _, err := Open(o); !errors.Is(err, unix.EROFS) || !strings.Contains(catenet.HintOf(err), "read-only") {
		t.Errorf("a read-only folder: %v", err)
	}
	o.StateDir = filepath.Join(o.StateDir, "below")
	if _, err := Open(o); !errors.Is(err, unix.EROFS) || !strings.Contains(catenet.HintOf(err), "read-only") {
		t.Errorf("below a read-only folder: %v", err)
	}
}

func mount(t *testing.T, dir string, flags uintptr, data string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesAreOursAlone(t *testing.T) {
	t.Parallel()
	o := folders(t)
	open(t, o)
	for path, want := range map[string]os.FileMode{
		o.StateDir: 0o700, o.RunDir: 0o711,
		filepath.Join(o.StateDir, "catenet.db"): 0o600, filepath.Join(o.RunDir, "live.db"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
}
