package shim

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kinds of a Failure, spelled as catenet.Kind spells them. (The vocabulary
// itself stays out of the shim: it would bring net/netip and crypto/rand.)
const (
	Internal    = "internal"
	Invalid     = "invalid"
	NotFound    = "not_found"
	Conflict    = "conflict"
	Unsupported = "unsupported"
)

// Failure is an error on its way to the daemon.
type Failure struct {
	Kind, Msg, Hint string
	Errno           unix.Errno // what the kernel said; 0 if it said nothing
}

func (f *Failure) Error() string { return f.Msg }

// Unwrap returns what the kernel said, if it did.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// maxReport keeps a report below PIPE_BUF (pipe(7)): it is written, and
// arrives, as one.
const maxReport = 4096

// started is the report of success: no kind is spelled so.
const started = "started"

// encode returns the failure as a report.
func (f *Failure) encode() []byte {
	b := []byte(f.Kind + "\x00" + f.Hint + "\x00" + strconv.Itoa(int(f.Errno)) + "\x00" + f.Msg)
	return b[:min(len(b), maxReport)]
}

// ErrNoReport says that a shim ended before it had anything to report.
var ErrNoReport = errors.New("catenet-shim ended without a word")

// ParseReport tells what a report says: nil for success, or a *Failure, or
// ErrNoReport.
func ParseReport(b []byte) error {
	if string(b) == started {
		return nil
	}
	parts := strings.SplitN(string(b), "\x00", 4)
	if len(parts) < 4 {
		return ErrNoReport
	}
	errno, err := strconv.ParseUint(parts[2], 10, 16)
	if err != nil {
		return ErrNoReport
	}
	return &Failure{Kind: parts[0], Hint: parts[1], Errno: unix.Errno(errno), Msg: parts[3]}
}

// failed is err with what was being done before it. What is a Failure
// already stays as it is.
func failed(doing string, err error) error {
	var f *Failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	kind := Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = NotFound
	case errors.Is(err, unix.ENOSYS):
		kind = Unsupported
	}
	errno, _ := errors.AsType[unix.Errno](err)
	return &Failure{Kind: kind, Msg: doing + ": " + err.Error(), Errno: errno}
}

// report writes what became of a start; nil is success. Nobody may be there
// any more to read it.
func report(fd int, err error) {
	b := []byte(started)
	if err != nil {
		var f *Failure
		if !errors.As(err, &f) {
			f = &Failure{Kind: Internal, Msg: err.Error()}
		}
		b = f.encode()
	}
	_ = write(fd, b)
}

// write writes all of b, or as much as can be.
func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
