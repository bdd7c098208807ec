package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// sweepLinks removes the links that are ours by their mark and unknown by
// record.
func (e *Engine) sweepLinks(ctx context.Context) error {
	known := make(map[string]bool) // what links belong to: networks and endpoints, by ID
	e.locked(func() {
		for id := range e.networks {
			known[id] = true
		}
		for _, sb := range e.sandboxes {
			for _, ep := range sb.now.Endpoints {
				known[ep.ID] = true
			}
		}
	})
	links, err := e.o.Host.Links(ctx)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var orphans []string
	for _, l := range links {
		if !known[strings.TrimPrefix(l.Alias, kernel.Mark)] {
			orphans = append(orphans, l.Name)
		}
	}
	if len(orphans) > 0 {
		slices.Sort(orphans)
		e.log.Info("remove links that nobody knows", "links", orphans)
	}
	return e.o.Host.DeleteLinks(ctx, orphans...)
}

// sweep removes what else is in the run folder and unknown by record: pinned
// namespaces, files, programs with their folders.
func (e *Engine) sweep(ctx context.Context) error {
	running := make(map[string]bool)
	e.locked(func() {
		for id, sb := range e.sandboxes {
			running[id] = sb.now.State == catenet.StateRunning
		}
	})
	return errors.Join(
		eachUnknown(e.netnsDir(), running, func(path string) error { return e.o.Namespaces.Unpin(ctx, path) }),
		// The folder's mount goes with the last pin; the first may never have come.
		e.o.Namespaces.Unpin(ctx, e.netnsPath("none")),
		eachUnknown(filepath.Join(e.o.RunDir, "sandboxes"), running, removeAll),
		eachUnknown(filepath.Join(e.o.RunDir, "containers"), running, func(dir string) error { return e.endUnknown(ctx, dir) }))
}

// sweepLogs removes the logs of containers that are not on record.
func (e *Engine) sweepLogs() error {
	known := make(map[string]bool)
	e.locked(func() {
		for id := range e.sandboxes {
			known[id] = true
		}
	})
	return eachUnknown(filepath.Join(e.o.StateDir, "containers"), known, removeAll)
}

// endUnknown ends the program of a folder that nobody knows, and removes that.
func (e *Engine) endUnknown(ctx context.Context, dir string) error {
	err := e.o.Processes.Signal(ctx, dir, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, werr := e.o.Processes.Wait(ctx, dir); werr != nil {
		e.log.Debug("wait for a program that nobody knows", "folder", dir, "err", werr) // it may never have begun
	}
	return errors.Join(err, removeAll(dir))
}

// eachUnknown calls remove for every entry of a folder that is not known.
func eachUnknown(dir string, known map[string]bool, remove func(path string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		if !known[entry.Name()] {
			errs = append(errs, remove(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}
