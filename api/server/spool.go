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

	"github.com/catenet/catenet/api/cni"
	"github.com/catenet/catenet/api/netavark"
	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/internal/failpoint"
)

// CatchUp carries out what guests' programs have written down in a folder while
// no daemon was there (pipe.SendOrSave). It is for a start, before anything is
// handed out: what was to go may be in the way. What cannot be done is kept for
// the next start, and what cannot be read is removed; both are told.
func CatchUp(ctx context.Context, e FullEngine, dir string, log *slog.Logger) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return fmt.Errorf("look for calls that were written down: %w", err)
	}
	fronts := map[string]func(context.Context, pipe.Call) pipe.Answer{
		cni.Path:      cni.New(e).Answer,
		netavark.Path: netavark.New(e, log).Answer,
	}
	var errs []error
	for _, path := range names {
		if !strings.HasSuffix(path, pipe.Saved) { // its writing was cut short
			errs = append(errs, forget(path))
			continue
		}
		call, err := saved(path)
		answer := fronts[call.Path]
		if err == nil && answer == nil {
			err = fmt.Errorf("it is a call of nobody here: %s", call.Path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", path, err), forget(path))
			continue
		}
		if a := answer(ctx, call); a.Exit != 0 {
			errs = append(errs, fmt.Errorf("carry out %s: %s", path, bytes.TrimSpace(a.Stdout)))
			continue
		}
		errs = append(errs, forget(path))
	}
	return errors.Join(errs...)
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
