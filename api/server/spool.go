package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/internal/failpoint"
)

// spool is the folder of calls that guests' programs have written down because
// nobody answered (pipe.SendOrSave), and who carries them out.
type spool struct {
	fronts map[string]answering // by path

	mu  sync.Mutex // one at a time: who comes later finds them done
	dir string     // beside the socket; "" before there is one
}

// answering is a front's verb.
type answering func(context.Context, pipe.Call) pipe.Answer

// young is the age of a call of which only a part is there, below which it may be
// that it is still being written.
const young = time.Minute

// CatchUp carries out what was written down in a folder. It is for a start,
// before anything is handed out: what was to go may be in the way. What cannot
// be done is kept for the next time, and what cannot be read is removed; both are
// told.
func CatchUp(ctx context.Context, e FullEngine, dir string, log *slog.Logger) error {
	s := New(e, log)
	s.spool.dir = dir
	return s.spool.catchUp(ctx)
}

// beside says where the socket is.
func (s *spool) beside(socket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = pipe.Spool(socket)
}

// catchUp is CatchUp. A server does it before each call of a guest's program too:
// one that was not answered while the daemon was stopped (SIGSTOP) is about what
// the call behind it may be about, and would undo that at the next start.
func (s *spool) catchUp(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		path := filepath.Join(s.dir, entry.Name())
		info, err := entry.Info()
		switch {
		case err != nil || !info.Mode().IsRegular(): // gone, or nobody's here
		case strings.HasSuffix(path, pipe.Saved):
			errs = append(errs, s.carryOut(ctx, path))
		case time.Since(info.ModTime()) > young: // its writing was cut short
			errs = append(errs, forget(path))
		}
	}
	return errors.Join(errs...)
}

// carryOut carries out one call.
func (s *spool) carryOut(ctx context.Context, path string) error {
	call, err := saved(path)
	answer := s.fronts[call.Path]
	if err == nil && answer == nil {
		err = fmt.Errorf("it is a call of nobody here: %s", call.Path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", path, err), forget(path))
	}
	if a := answer(ctx, call); a.Exit != 0 {
		return fmt.Errorf("carry out %s: %s", path, bytes.TrimSpace(a.Stdout))
	}
	return forget(path)
}

func forget(path string) error {
	failpoint.Before("spool.remove")
	err := os.Remove(path)
	failpoint.After("spool.remove")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// saved reads a call that was written down.
func saved(path string) (c pipe.Call, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return c, err
	}
	q := r.URL.Query()
	c = pipe.Call{Path: r.URL.Path, Args: q["arg"], Env: q["env"]}
	c.Stdin, err = io.ReadAll(r.Body)
	return c, err
}
