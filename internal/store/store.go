package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// Class says what a record outlives.
type Class int

// The classes of records.
const (
	Durable Class = iota // a power cut
	Live                 // the daemon
)

// Kind is what a record is: "network", "sandbox". It has no slash in it.
type Kind string

// Options say where the files are.
type Options struct {
	StateDir string // of the durable file; made if absent
	RunDir   string // of the live file; made if absent
	// BootID tells this boot of the machine from earlier ones; "" asks the
	// kernel.
	BootID string
	Log    *slog.Logger
}

// Store is the two files. It is safe for concurrent use; updates of one class
// go one after the other.
type Store struct {
	files  [2]*file // by Class
	nodeID string
}

// Names of the buckets and of the keys in bucketMeta.
var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records") // kind/id → seal and JSON
	keySchema     = []byte("schema")
	keySum        = []byte("sum") // of all else in bucketMeta; from schema 2 on
	keyBoot       = []byte("boot")
	keyNode       = []byte("node")
)

// Open opens both files, and makes what is absent. A folder that another
// daemon uses is a conflict error that says which. A file that cannot be read
// is kept beside a new one with what its journal has, and said in the log and by
// Warnings; one of a later catenet is an unsupported error.
func Open(o Options) (*Store, error) {
	// Others pass through the run folder, to the daemon's socket; the files
	// themselves are 0600.
	if err := makeDir(o.StateDir, 0o700); err != nil {
		return nil, err
	}
	if err := makeDir(o.RunDir, 0o711); err != nil {
		return nil, err
	}
	boot, err := bootID(o.BootID)
	if err != nil {
		return nil, err
	}
	s := new(Store)
	// The live file first: whoever has it has the run folder, and with it the
	// durable file's second journal.
	live := []string{filepath.Join(o.RunDir, "live.journal")}
	if s.files[Live], err = openFile(filepath.Join(o.RunDir, "live.db"), true, live, migrations(), o.Log); err != nil {
		return nil, err
	}
	// The first journal serves the next boot too, the second when the state
	// folder is lost as a whole.
	durable := []string{filepath.Join(o.StateDir, "catenet.journal"), filepath.Join(o.RunDir, "catenet.journal")}
	if s.files[Durable], err = openFile(filepath.Join(o.StateDir, "catenet.db"), false, durable, migrations(), o.Log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := syncDir(o.StateDir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.settle(boot); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, f := range s.files {
		f.beginJournals()
	}
	return s, nil
}

// settle gives the node its identity and empties the live file of an earlier
// boot.
func (s *Store) settle(boot string) error {
	err := s.files[Durable].meta(func(m *bbolt.Bucket, _ *bbolt.Tx) error {
		s.nodeID = string(m.Get(keyNode))
		if s.nodeID != "" {
			return errUnchanged
		}
		s.nodeID = catenet.NewID()
		return m.Put(keyNode, []byte(s.nodeID))
	})
	if err != nil {
		return err
	}
	return s.files[Live].meta(func(m *bbolt.Bucket, tx *bbolt.Tx) error {
		if string(m.Get(keyBoot)) == boot {
			return errUnchanged
		}
		if err := tx.DeleteBucket(bucketRecords); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketRecords); err != nil {
			return err
		}
		return m.Put(keyBoot, []byte(boot))
	})
}

// NodeID returns the node's identity: 64 hexadecimal digits, made when the
// durable file was, and the same ever after.
func (s *Store) NodeID() string { return s.nodeID }

// Close closes both files.
func (s *Store) Close() error {
	var errs []error
	for _, f := range s.files {
		if f != nil {
			errs = append(errs, f.close())
		}
	}
	return errors.Join(errs...)
}

// Tx is one update of one class.
type Tx struct {
	records *bbolt.Bucket
	noted   map[string]json.RawMessage // what changes, by key; null: deleted
}

// Update runs fn and, unless it fails, writes all that it put and deleted in
// one step. When Update returns nil, the change outlives what its class says.
func (s *Store) Update(c Class, fn func(*Tx) error) error { return s.files[c].update(fn) }

// Put writes a record in place of an earlier one of that kind and ID.
func (tx *Tx) Put(kind Kind, id string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	k := key(kind, id)
	if err := tx.records.Put(k, seal(k, b)); err != nil {
		return fmt.Errorf("put %s %s: %w", kind, id, err)
	}
	tx.noted[string(k)] = b
	return nil
}

// Delete removes a record. An absent one is no error.
func (tx *Tx) Delete(kind Kind, id string) error {
	k := key(kind, id)
	if err := tx.records.Delete(k); err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, id, err)
	}
	tx.noted[string(k)] = nil
	return nil
}

// Load returns all records of a kind, by ID.
func Load[T any](s *Store, c Class, kind Kind) (map[string]T, error) {
	all := make(map[string]T)
	err := s.files[c].db.View(func(tx *bbolt.Tx) error {
		prefix := string(key(kind, ""))
		cur := tx.Bucket(bucketRecords).Cursor()
		for k, b := cur.Seek([]byte(prefix)); strings.HasPrefix(string(k), prefix); k, b = cur.Next() {
			id := string(k[len(prefix):])
			var v T
			b, err := unseal(k, b)
			if err == nil {
				err = json.Unmarshal(b, &v)
			}
			if err != nil {
				return fmt.Errorf("decode %s %s: %w", kind, id, err)
			}
			all[id] = v
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func key(kind Kind, id string) []byte { return []byte(string(kind) + "/" + id) }

func makeDir(path string, mode os.FileMode) error {
	failpoint.Before("store.folder")
	err := os.MkdirAll(path, mode)
	failpoint.After("store.folder")
	if err != nil {
		return unwritable("make folder "+path, err)
	}
	return nil
}

// syncDir makes a new file's name outlive a power cut.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func bootID(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot ID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
