package apitest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/catenet/catenet"
)

// logbook is a log in memory.
type logbook struct {
	mu    sync.Mutex // guards all below
	lines []line
	ended bool
	news  chan struct{} // closed when a line comes
}

type line struct {
	stream string
	text   []byte
}

func (l *logbook) changed() chan struct{} {
	if l.news == nil {
		l.news = make(chan struct{})
	}
	return l.news
}

func (l *logbook) tell() {
	close(l.changed())
	l.news = nil
}

func (l *logbook) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = false
}

func (l *logbook) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.tell()
}

func (l *logbook) writer(stream string) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for text := range bytes.Lines(p) { // tests write whole lines
			l.lines = append(l.lines, line{stream, bytes.Clone(text)})
		}
		l.tell()
		return len(p), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (l *logbook) read(ctx context.Context, o catenet.LogOptions, emit func(string, time.Time, []byte) error) error {
	if o.Since.After(Now) {
		return nil
	}
	for i, first := 0, true; ; first = false {
		l.mu.Lock()
		lines, ended, news := l.lines, l.ended, l.changed()
		l.mu.Unlock()
		if first && o.Tail >= 0 {
			i = max(0, len(lines)-o.Tail)
		}
		for ; i < len(lines); i++ {
			if err := emit(lines[i].stream, Now, lines[i].text); err != nil {
				return err
			}
		}
		if !o.Follow || ended {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
