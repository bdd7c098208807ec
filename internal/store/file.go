package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// lockWait is how long a daemon that is just ending may still hold a file.
const lockWait = time.Second

// file is one bbolt file with our buckets in it.
type file struct {
	db   *bbolt.DB
	path string
}

// migration changes the records of one schema into those of the next.
type migration func(*bbolt.Tx) error

// migrations[i] leads from schema i+1 to schema i+2. There is one schema yet.
var migrations []migration

// errUnchanged ends a meta update that has nothing to write.
var errUnchanged = errors.New("unchanged")

// errCorrupt is what is wrong with a file that is no database of ours.
var errCorrupt = errors.New("corrupt")

// openFile opens or makes a file, checks all of it, and brings its records to
// the present schema. One that is corrupt is set aside.
func openFile(path string, noSync bool, steps []migration, log *slog.Logger) (*file, error) {
	db, err := tryOpen(path, noSync)
	if errors.Is(err, errCorrupt) {
		aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405")
		failpoint.Before("store.aside")
		rerr := os.Rename(path, aside)
		failpoint.After("store.aside")
		if rerr != nil {
			return nil, fmt.Errorf("set aside corrupt file: %w", rerr)
		}
		log.Error("a file of records cannot be read: it is kept aside and a new, empty one is begun", "file", path, "kept", aside, "err", err)
		db, err = tryOpen(path, noSync)
	}
	if err != nil {
		return nil, opening(path, err)
	}
	f := &file{db: db, path: path}
	if err := f.migrate(steps); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
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
	if err := db.View(readAll); err != nil {
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

// readAll visits every page that is in use and every record.
func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if string(name) == string(bucketRecords) && !json.Valid(v) {
				return fmt.Errorf("the record %q is no JSON", k)
			}
			return nil
		})
	})
}

// migrate makes the buckets of a new file, and takes an older one through the
// steps that it lacks.
func (f *file) migrate(steps []migration) error {
	present := len(steps) + 1
	return f.meta(func(m *bbolt.Bucket, tx *bbolt.Tx) error {
		was := present
		if b := m.Get(keySchema); b != nil {
			var err error
			if was, err = strconv.Atoi(string(b)); err != nil || was < 1 {
				return fmt.Errorf("the schema %q is no number from 1", b)
			}
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
		return fn(m, tx)
	})
	failpoint.After("store.prepare")
	if err == nil || errors.Is(err, errUnchanged) {
		return nil
	}
	return f.failed("prepare", err)
}

// failed says what could not be done to the file; errors that people can act
// on get a kind.
func (f *file) failed(what string, err error) error { return unwritable(what+" "+f.path, err) }
