package shim

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	// maxLog is the size in bytes at which a log is rotated: two files of
	// it at most lie on the disk.
	maxLog = 10 << 20
	// maxLine is the longest piece of output, in bytes, in one entry, as
	// with Docker: a longer line is cut, and all of its entries but the last
	// lack the line feed.
	maxLine = 16 << 10
)

// RotatedSuffix is added to the path of a log that was rotated.
const RotatedSuffix = ".1"

// logFile writes entries as Docker's json-file driver does:
//
//	{"log":"hello\n","stream":"stdout","time":"2006-01-02T15:04:05.999999999Z"}
//
// What can't be written (a full disk) is lost: a container does not stand
// still for its log.
type logFile struct {
	path string
	fd   int
	size int64
	torn bool   // the file does not end with a line feed
	buf  []byte // entries not yet written
}

// openLog opens the log for appending.
func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	return l, l.open()
}

func (l *logFile) open() (err error) {
	l.fd, err = unix.Open(l.path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return failed("open log "+l.path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(l.fd, &st); err != nil {
		return failed("look at log "+l.path, err)
	}
	l.size, l.torn = st.Size, false
	var last [1]byte
	if n, err := unix.Pread(l.fd, last[:], st.Size-1); st.Size > 0 && n == 1 && err == nil {
		l.torn = last[0] != '\n'
	}
	return nil
}

// Entry is one of a log: a line with its line feed, or a piece of a longer one.
// What is UTF-8 is in Log, as with Docker's json-file; what is not is in Raw.
type Entry struct {
	Log    string    `json:"log"`
	Raw    []byte    `json:"raw"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// Bytes is what the program wrote.
func (e *Entry) Bytes() []byte {
	if e.Raw != nil {
		return e.Raw
	}
	return []byte(e.Log)
}

// add puts one entry into the buffer.
func (l *logFile) add(stream string, piece []byte, now time.Time) {
	if utf8.Valid(piece) {
		l.buf = append(l.buf, `{"log":`...)
		l.buf = appendString(l.buf, piece)
	} else {
		l.buf = append(l.buf, `{"raw":"`...)
		l.buf = base64.StdEncoding.AppendEncode(l.buf, piece)
		l.buf = append(l.buf, '"')
	}
	l.buf = append(l.buf, `,"stream":"`...)
	l.buf = append(l.buf, stream...)
	l.buf = append(l.buf, `","time":"`...)
	l.buf = now.UTC().AppendFormat(l.buf, time.RFC3339Nano)
	l.buf = append(l.buf, "\"}\n"...)
}

// flush writes the buffer, in one piece, and rotates the log if it has become
// long.
func (l *logFile) flush() {
	if len(l.buf) == 0 {
		return
	}
	if l.torn && write(l.fd, []byte{'\n'}) == nil {
		l.torn = false
	}
	if err := write(l.fd, l.buf); err != nil {
		l.torn = true
	}
	l.size += int64(len(l.buf))
	l.buf = l.buf[:0]
	if l.size < maxLog {
		return
	}
	full := l.fd
	if unix.Rename(l.path, l.path+RotatedSuffix) != nil || l.open() != nil {
		l.fd, l.size = full, 0 // go on in this one, and try again in a while
		return
	}
	unix.Close(full)
}

// appendString appends b, which is UTF-8, as a JSON string (RFC 8259, section
// 7).
func appendString(dst, b []byte) []byte {
	dst = append(dst, '"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c >= ' ':
			dst = append(dst, c)
		default:
			dst = append(dst, `\u00`...)
			if c < 0x10 {
				dst = append(dst, '0')
			}
			dst = strconv.AppendUint(dst, uint64(c), 16)
		}
	}
	return append(dst, '"')
}

// stream is one output of the container on its way to the log.
type stream struct {
	name string // stdout, stderr
	fd   int    // -1 once it has ended
	log  *logFile
	line []byte // the beginning of a line whose end has not come yet
}

// pump reads once, and reports whether there may be more.
func (s *stream) pump(buf []byte) bool {
	if s.fd < 0 {
		return false
	}
	n, err := unix.Read(s.fd, buf)
	if err == unix.EINTR {
		return true
	}
	if err == unix.EAGAIN {
		return false
	}
	if err != nil || n == 0 {
		s.end()
		return false
	}
	s.cut(buf[:n])
	s.log.flush()
	return true
}

// cut makes entries of what was read.
func (s *stream) cut(b []byte) {
	for len(b) > 0 {
		piece := b[:min(len(b), maxLine-len(s.line))]
		if i := bytes.IndexByte(piece, '\n'); i >= 0 {
			piece = piece[:i+1]
		}
		s.line = append(s.line, piece...)
		b = b[len(piece):]
		if len(s.line) == maxLine || s.line[len(s.line)-1] == '\n' {
			s.log.add(s.name, s.line, time.Now())
			s.line = s.line[:0]
		}
	}
}

// end logs what is left without a line feed.
func (s *stream) end() {
	if s.fd < 0 {
		return
	}
	unix.Close(s.fd)
	s.fd = -1
	if len(s.line) > 0 {
		s.log.add(s.name, s.line, time.Now())
		s.line = s.line[:0]
	}
	s.log.flush()
}
