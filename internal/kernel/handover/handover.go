// Package handover carries open sockets over to the program that takes this
// one's place: execve(2) keeps the process, its children and the descriptors
// that are not closed on it, and nothing else. What waits in the queues of the
// sockets meanwhile is answered by the next program.
//
// What the descriptors are is told by a manifest, in a memory file
// (memfd_create(2)) whose descriptor an environment variable names. It counts
// only for the process that it was written by: another's is somebody else's
// variable that was passed on.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable of the environment that holds the manifest's descriptor.
const variable = "CATENETD_HANDOVER"

// Parcel is what is handed over: sockets, and notes about them, each under a
// name. Its methods are safe for concurrent use. The zero value is an empty
// one.
type Parcel struct {
	mu    sync.Mutex
	sent  []entry             // to be sent
	files map[string]*os.File // received, and not taken yet
	notes map[string]json.RawMessage
}

// Socket is what can be handed over.
type Socket = syscall.Conn

// entry is a socket to be sent. It stays its owner's.
type entry struct {
	name string
	conn Socket // or else:
	fd   int
}

// manifest is what one program writes for the next.
type manifest struct {
	PID   int                        `json:"pid"`
	Files map[string]int             `json:"files"` // descriptors
	Notes map[string]json.RawMessage `json:"notes"`
}

// Put adds a socket; one that is closed before Exec is left out.
func (p *Parcel) Put(name string, c Socket) { p.put(entry{name: name, conn: c}) }

// PutFD is Put for a plain descriptor.
func (p *Parcel) PutFD(name string, fd int) { p.put(entry{name: name, fd: fd}) }

func (p *Parcel) put(e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, e)
}

// Note adds something that JSON can say.
func (p *Parcel) Note(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("note %s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.notes == nil {
		p.notes = make(map[string]json.RawMessage)
	}
	p.notes[name] = b
	return nil
}

// Receive returns what this program was handed; an empty parcel if it was
// started as any other.
func Receive() (*Parcel, error) {
	p := &Parcel{files: make(map[string]*os.File)}
	value, ok := os.LookupEnv(variable)
	if !ok {
		return p, nil
	}
	if err := os.Unsetenv(variable); err != nil { // it is for nobody that we start
		return p, err
	}
	m, err := read(value)
	if err != nil || m.PID != os.Getpid() {
		return p, err
	}
	for name, fd := range m.Files {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			continue // it was closed in the last moment
		}
		p.files[name] = os.NewFile(uintptr(fd), name)
	}
	p.notes = m.Notes
	return p, nil
}

// read reads the manifest, and closes it if it is one of ours.
func read(value string) (m manifest, err error) {
	fd, err := strconv.Atoi(value)
	if err != nil {
		return m, fmt.Errorf("read %s=%s: %w", variable, value, err)
	}
	if at, err := os.Readlink("/proc/self/fd/" + value); err != nil || !strings.HasPrefix(at, "/memfd:"+variable) {
		return m, nil
	}
	f := os.NewFile(uintptr(fd), variable)
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		return m, fmt.Errorf("read what was handed over: %w", err)
	}
	return parse(b)
}

// parse reads the text of a manifest.
func parse(b []byte) (m manifest, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read what was handed over: %w", err)
	}
	return m, nil
}

// Take returns the file of a name, which is the caller's then, or nil.
func (p *Parcel) Take(name string) *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[name]
	delete(p.files, name)
	return f
}

// TakeAll returns the files whose names begin so, by name; they are the caller's then.
func (p *Parcel) TakeAll(prefix string) map[string]*os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := make(map[string]*os.File)
	for name, f := range p.files {
		if strings.HasPrefix(name, prefix) {
			taken[name] = f
			delete(p.files, name)
		}
	}
	return taken
}

// Read reads the note of a name into v, and reports whether there is one.
func (p *Parcel) Read(name string, v any) (bool, error) {
	p.mu.Lock()
	b, ok := p.notes[name]
	p.mu.Unlock()
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("read note %s: %w", name, err)
	}
	return true, nil
}

// Close closes what nobody took.
func (p *Parcel) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for name, f := range p.files {
		errs = append(errs, f.Close())
		delete(p.files, name)
	}
	return errors.Join(errs...)
}
