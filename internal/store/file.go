package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// lockWait is how long a daemon that is just ending may still hold a file.
const lockWait = time.Second

// file is one bbolt file with our buckets in it, and its journals.
type file struct {
	db   *bbolt.DB
	path string

	mu       sync.Mutex // orders the journals as the file is
	journals []*journal
	told     bool // of a journal that is incomplete
	log      *slog.Logger
}

// migration changes the records of one schema into those of the next.
type migration func(*bbolt.Tx) error

// migrations[i] leads from schema i+1 to schema i+2.
func migrations() []migration { return []migration{sealAll} }

// errUnchanged ends a meta update that has nothing to write.
var errUnchanged = errors.New("unchanged")

// errCorrupt is what is wrong with a file that is no database of ours.
var errCorrupt = errors.New("corrupt")

// openFile opens or makes a file, checks all of it, and brings its records to
// the present schema. One that is corrupt, or lacks what its journals have, is
// set aside, and made anew from the best of those.
func openFile(path string, noSync bool, journals []string, steps []migration, log *slog.Logger) (*file, error) {
	db, err := tryOpen(path, noSync)
	if err != nil && !errors.Is(err, errCorrupt) {
		return nil, opening(path, err)
	}
	last, lines := newest(journals, log)
	if err == nil && begun(db) && lastOf(db) < last {
		err = errors.Join(fmt.Errorf("%w: it ends with update %d, its journal with %d", errCorrupt, lastOf(db), last), db.Close())
	}
	if err != nil {
		if err := setAside(path, err, log); err != nil {
			return nil, err
		}
		if db, err = tryOpen(path, noSync); err != nil {
			return nil, opening(path, err)
		}
	}
	f := &file{db: db, path: path, log: log}
	for _, j := range journals {
		f.journals = append(f.journals, &journal{path: j})
	}
	if !begun(db) && last > 0 {
		err = f.restore(lines)
	}
	if err = errors.Join(err, f.migrate(steps)); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// setAside keeps a corrupt file under another name.
func setAside(path string, why error, log *slog.Logger) error {
	aside := path + asideMark + time.Now().UTC().Format("20060102T150405.000")
	failpoint.Before("store.aside")
	err := os.Rename(path, aside)
	failpoint.After("store.aside")
	if err != nil {
		return unwritable("set aside corrupt file", err)
	}
	log.Error("a file of records cannot be used: it is kept aside, and a new one is begun", "file", path, "kept", aside, "err", why)
	return nil
}

// newest returns the lines of the journal that goes furthest, and the number
// of its last update; 0 if there is none.
func newest(journals []string, log *slog.Logger) (last int, lines []byte) {
	for _, path := range journals {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("a journal of records cannot be read", "file", path, "err", err)
		}
		if n := lastUpdate(b); n > last {
			last, lines = n, b
		}
	}
	return last, lines
}

// begun reports whether something was ever written to a file.
func begun(db *bbolt.DB) (yes bool) {
	_ = db.View(func(tx *bbolt.Tx) error { // fails only if it is closed
		yes = tx.Bucket(bucketMeta) != nil
		return nil
	})
	return yes
}

// lastOf is the number of the last update of a file.
func lastOf(db *bbolt.DB) (last int) {
	_ = db.View(func(tx *bbolt.Tx) error { last = tx.ID(); return nil })
	return last
}

// restore fills a new file with what its journal says.
func (f *file) restore(lines []byte) error {
	all, lost := replay(lines)
	failpoint.Before("store.restore")
	err := f.db.Update(func(tx *bbolt.Tx) error {
		m, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		for k, v := range all.Meta {
			if err := m.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket(bucketRecords)
		if err != nil {
			return err
		}
		for k, v := range all.Records {
			if err := b.Put([]byte(k), seal([]byte(k), v)); err != nil {
				return err
			}
		}
		return nil
	})
	failpoint.After("store.restore")
	if err != nil {
		return f.failed("restore", err)
	}
	f.log.Warn("records are restored from their journal", "file", f.path, "records", len(all.Records), "unreadable_updates", lost)
	return nil
}

// tryOpen opens a file and reads all of it. bbolt trusts its file: it panics
// over a page that is none, and one beyond the file's end is a bus error. Both
// come out as errCorrupt.
func tryOpen(path string, noSync bool) (db *bbolt.DB, err error) {
	var opened *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// The map is lost; closing the file at least gives up its lock.
			err = errors.Join(fmt.Errorf("%w: %v", errCorrupt, p), opened.Close())
			db = nil
		}
	}()
	failpoint.Before("store.open")
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      lockWait,
		NoSync:       noSync,
		NoGrowSync:   noSync,
		NoStatistics: true,
		// Address space only; growing beyond it costs a new map.
		InitialMmapSize: 64 << 20,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			opened, err = os.OpenFile(name, flag, mode)
			return opened, err
		},
	})
	failpoint.After("store.open")
	if err != nil {
		if damaged(path, err) {
			err = fmt.Errorf("%w: %w", errCorrupt, err)
		}
		return nil, err
	}
	if err := db.View(func(tx *bbolt.Tx) error { return readAll(tx, opened) }); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errCorrupt, err), db.Close())
	}
	return db, nil
}

// damaged tells a bad file from a bad moment. bbolt has no error value for a
// file that is too small.
func damaged(path string, err error) bool {
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		return true
	}
	info, statErr := os.Stat(path)
	var errno syscall.Errno
	return statErr == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() < 4*4096 &&
		!errors.As(err, &errno) && !errors.Is(err, berrors.ErrTimeout)
}

// readAll visits every page that is in use and every record; then bbolt looks
// whether the pages fit together, which it does in a goroutine that a page
// beyond the file's end would not be forgiven in.
func readAll(tx *bbolt.Tx, f io.ReaderAt) error {
	schema, err := readMeta(tx.Bucket(bucketMeta))
	if err != nil {
		return err
	}
	if (tx.Bucket(bucketMeta) == nil) != (tx.Bucket(bucketRecords) == nil) {
		return errors.New("half of it is not there")
	}
	if err := boundPages(f, int64(tx.DB().Info().PageSize), tx.Size()); err != nil {
		return err
	}
	err = tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			switch {
			case string(name) == string(bucketMeta):
			case string(name) != string(bucketRecords) && schema <= sealed:
				return fmt.Errorf("the bucket %q is none of ours", name)
			case schema == sealed:
				_, err := unseal(k, v)
				return err
			case schema < sealed && !json.Valid(v):
				return fmt.Errorf("the record %q is no JSON", k)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for cerr := range tx.Check() { // to its end, or its goroutine would stay
		if err == nil {
			err = cerr
		}
	}
	return err
}

// boundPages checks that no page claims to go on beyond the last, in size bytes
// of them. bbolt would believe it, and count four billion. A page begins with
// its number (8 bytes), and has the number of those that it goes on over at byte
// 12 (4 bytes); those have anything at these places, and bbolt asserts the number
// of each that it is led to.
func boundPages(f io.ReaderAt, pageSize, size int64) error {
	var header [16]byte
	for at := 2 * pageSize; at < size; at += pageSize { // the first two are metas
		if _, err := f.ReadAt(header[:], at); err != nil {
			return err
		}
		more := int64(binary.NativeEndian.Uint32(header[12:]))
		if id := at / pageSize; binary.NativeEndian.Uint64(header[:]) == uint64(id) && id+more >= size/pageSize {
			return fmt.Errorf("page %d goes on over %d more", id, more)
		}
	}
	return nil
}

// readMeta checks bucketMeta, and returns the schema: 1 before there is one.
func readMeta(m *bbolt.Bucket) (schema int, err error) {
	if m == nil {
		return 1, nil
	}
	b := m.Get(keySchema)
	if schema, err = strconv.Atoi(string(b)); err != nil || schema < 1 {
		return 0, fmt.Errorf("the schema %q is no number from 1", b)
	}
	if schema == sealed && string(m.Get(keySum)) != string(sumMeta(m)) {
		return 0, errors.New("what describes the file is not what was written")
	}
	return schema, nil
}

// migrate makes the buckets of a new file, and takes an older one through the
// steps that it lacks.
func (f *file) migrate(steps []migration) error {
	present := len(steps) + 1
	return f.meta(func(m *bbolt.Bucket, tx *bbolt.Tx) error {
		was := present
		if b := m.Get(keySchema); b != nil {
			was, _ = strconv.Atoi(string(b)) // readMeta has looked at it
			if was == present {
				return errUnchanged
			}
		}
		if was > present {
			return catenet.Unsupportedf("%s is of a later catenet: its records have schema %d, this one knows %d", f.path, was, present).
				WithHint("start the later catenetd again, or give this one folders of its own (--state-dir, --run-dir)")
		}
		if _, err := tx.CreateBucketIfNotExists(bucketRecords); err != nil {
			return err
		}
		for i, step := range steps[was-1:] {
			if err := step(tx); err != nil {
				return fmt.Errorf("migrate from schema %d: %w", was+i, err)
			}
		}
		if was < present {
			f.log.Info("records are brought up to date", "file", f.path, "from_schema", was, "to_schema", present)
		}
		return m.Put(keySchema, []byte(strconv.Itoa(present)))
	})
}

// meta runs one update that begins at bucketMeta.
func (f *file) meta(fn func(*bbolt.Bucket, *bbolt.Tx) error) error {
	failpoint.Before("store.prepare")
	err := f.db.Update(func(tx *bbolt.Tx) error {
		m, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		if err := fn(m, tx); err != nil {
			return err
		}
		return m.Put(keySum, sumMeta(m))
	})
	failpoint.After("store.prepare")
	if err == nil || errors.Is(err, errUnchanged) {
		return nil
	}
	return f.failed("prepare", err)
}

// update runs one update of records, and then notes it in the journals.
func (f *file) update(fn func(*Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ours error
	var seq int
	e := entry{Records: make(map[string]json.RawMessage)}
	failpoint.Before("store.update")
	err := f.db.Update(func(tx *bbolt.Tx) error {
		seq = tx.ID()
		ours = fn(&Tx{tx.Bucket(bucketRecords), e.Records})
		return ours
	})
	if err == nil {
		for _, j := range f.journals {
			j.add(f.db, seq, e)
		}
		f.tellJournals()
	}
	failpoint.After("store.update")
	if err == nil || ours != nil {
		return ours
	}
	return f.failed("write", err)
}

// beginJournals has the journals say what the file says now.
func (f *file) beginJournals() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.journals {
		j.begin(f.db)
	}
	f.tellJournals()
}

// tellJournals logs that a journal is incomplete, once, until all are whole.
func (f *file) tellJournals() {
	for _, j := range f.journals {
		if j.err != nil {
			if !f.told {
				f.log.Warn("records have no second copy; trying again with each update", "file", f.path, "copy", j.path, "err", j.err)
			}
			f.told = true
			return
		}
	}
	f.told = false
}

// close waits for the update that is under way, and for its journals.
func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := []error{f.db.Close()}
	for _, j := range f.journals {
		errs = append(errs, j.close())
	}
	return errors.Join(errs...)
}

// failed says what could not be done to the file; errors that people can act
// on get a kind.
func (f *file) failed(what string, err error) error { return unwritable(what+" "+f.path, err) }
