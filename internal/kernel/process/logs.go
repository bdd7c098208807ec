package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/process/shim"
)

// Logs reads the log at path, that Container.Log named, with the file that it
// was rotated to, and calls fn for each entry: a line with its line feed, or a
// piece of 16 KiB of a longer one. To follow is to go on until ended is closed,
// which is to be done once the container has ended and its log is complete, or
// ctx ends. It returns fn's first error, or ctx's; nil at the end. A log that
// does not exist is a not-found error.
func Logs(ctx context.Context, path string, o catenet.LogOptions, ended <-chan struct{},
	fn func(stream string, t time.Time, line []byte) error) error {
	var changes *folderWatch
	if o.Follow {
		w, err := watchFolder(path) // before the first look: no change is missed
		if err != nil {
			return err
		}
		defer w.Close()
		changes = w
	}
	l := &logReader{path: path, since: o.Since, fn: fn}
	if err := l.open(); err != nil {
		return err
	}
	defer l.close()
	if err := l.skipTo(o.Tail); err != nil {
		return err
	}
	for {
		complete := isClosed(ended) // before reading: then that reads the rest
		if err := l.read(ctx); err != nil {
			return err
		}
		if !o.Follow || complete {
			return nil
		}
		if err := changes.wait(ctx, ended); err != nil {
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logReader is a place in a log of two files.
type logReader struct {
	path  string
	since time.Time
	fn    func(string, time.Time, []byte) error
	files []*os.File // still to be read, the older first; the last is the one at path when it was opened
	buf   *bufio.Reader
	part  []byte // of an entry whose end is not written yet
	skip  int    // entries that are not wanted
}

// open opens the file that was rotated away, if there is one, and the log.
func (l *logReader) open() error {
	for {
		now, err := os.Open(l.path)
		if errors.Is(err, os.ErrNotExist) {
			return catenet.NotFoundf("there is no log %s", l.path)
		}
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		old, err := os.Open(l.path + shim.RotatedSuffix)
		if errors.Is(err, os.ErrNotExist) {
			l.files = []*os.File{now}
			break
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open log: %w", err), now.Close())
		}
		if !same(old, now) {
			l.files = []*os.File{old, now}
			break
		}
		// It was rotated in between.
		if err := errors.Join(old.Close(), now.Close()); err != nil {
			return err
		}
	}
	l.buf = bufio.NewReaderSize(l.files[0], 64<<10)
	return nil
}

func (l *logReader) close() {
	for _, f := range l.files {
		f.Close()
	}
}

// skipTo leaves out all but the last n entries of what is there; none if n is
// negative.
func (l *logReader) skipTo(n int) error {
	if n < 0 {
		return nil
	}
	for _, f := range l.files {
		lines, err := countLines(f)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		l.skip += lines
	}
	l.skip = max(0, l.skip-n)
	return nil
}

// countLines counts the line feeds of a file and leaves it at its beginning.
func countLines(f *os.File) (int, error) {
	lines, buf := 0, make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			_, err = f.Seek(0, io.SeekStart)
			return lines, err
		}
		if err != nil {
			return 0, err
		}
	}
}

// read reads all that is there now.
func (l *logReader) read(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := l.buf.ReadSlice('\n')
		l.part = append(l.part, b...)
		switch {
		case err == nil:
			if err := l.tell(); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read log: %w", err)
		default:
			if more, err := l.next(); err != nil || !more {
				return err
			}
		}
	}
}

// tell passes one entry on.
func (l *logReader) tell() error {
	line := l.part
	l.part = l.part[:0]
	if l.skip > 0 {
		l.skip--
		return nil
	}
	var entry shim.Entry
	// What is no entry was torn by a full disk or a power cut.
	whole := json.Unmarshal(line, &entry) == nil
	if !whole || entry.Time.Before(l.since) {
		return nil
	}
	return l.fn(entry.Stream, entry.Time, entry.Bytes())
}

// next goes on to the file after the one that is at its end, and reports
// whether there may be more to read now.
func (l *logReader) next() (bool, error) {
	if len(l.files) == 1 {
		if err := l.follow(); err != nil || len(l.files) == 1 {
			return false, err
		}
		// Written between its last read and its rotation: once more to its
		// end, with the successor behind it.
		return true, nil
	}
	if err := l.files[0].Close(); err != nil {
		return false, fmt.Errorf("close log: %w", err)
	}
	l.files, l.part = l.files[1:], l.part[:0]
	l.buf.Reset(l.files[0])
	return true, nil
}

// follow finds the successors of the only file left, if it has been rotated.
func (l *logReader) follow() error {
	now, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) { // in the middle of a rotation, or removed
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at log: %w", err)
	}
	last := l.files[0]
	mine, err := last.Stat()
	if err != nil {
		return fmt.Errorf("look at log: %w", err)
	}
	if os.SameFile(mine, now) {
		return nil
	}
	if err := l.open(); err != nil {
		l.files = []*os.File{last}
		return err
	}
	if same(l.files[0], last) { // the usual case: rotated once
		err := l.files[0].Close()
		l.files[0] = last
		l.buf.Reset(last)
		return err
	}
	l.files = append([]*os.File{last}, l.files...)
	l.buf.Reset(last)
	return nil
}

func same(a, b *os.File) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}
