package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/internal/config"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel/handover"
)

// remove takes away what a daemon that does not run any more has left in the
// kernel and in its run folder, and with purge what is on record too.
// Forwarding of the host stays on: others may need it by now.
func remove(ctx context.Context, c config.Config, log *slog.Logger) error {
	c.Loopback = "proxy" // eBPF programs are removed, and none are made
	if _, err := os.Stat(c.StateDir); errors.Is(err, os.ErrNotExist) {
		c.Purge = true // what opening makes is nobody's
	}
	d, err := open(c, &handover.Parcel{}, log)
	if err == nil {
		err = errors.Join(d.engine.Withdraw(ctx), d.firewall.Remove(ctx))
	}
	if err == nil && c.Purge {
		err = d.engine.Forsake(ctx)
	}
	if err = errors.Join(err, d.close()); err != nil {
		return err
	}
	err = server.ClearStale(ctx, strings.TrimPrefix(c.Listen, "unix://"))
	spool := pipe.Spool(c.Listen)
	err = errors.Join(err, emptied(log, filepath.Dir(spool), filepath.Base(spool)),
		emptied(log, c.RunDir, "live.*", "catenet.journal", "netns", "sandboxes", "containers"))
	if c.Purge {
		err = errors.Join(err, emptied(log, c.StateDir, "catenet.db*", "catenet.journal", "containers"))
	}
	log.Info("removed", "run_dir", c.RunDir, "state_dir", c.StateDir, "purged", c.Purge)
	return err
}

// emptied removes what is named of a folder, and the folder if nothing else is
// in it: somebody may have given a daemon one that others use too, or that
// something is mounted on.
func emptied(log *slog.Logger, dir string, names ...string) error {
	var errs []error
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(dir, name))
		errs = append(errs, err)
		for _, path := range found {
			failpoint.Before("remove.files")
			errs = append(errs, os.RemoveAll(path))
			failpoint.After("remove.files")
		}
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
		failpoint.Before("remove.folder")
		err := os.Remove(dir)
		failpoint.After("remove.folder")
		if err != nil {
			log.Info("an empty folder stays", "err", err)
		}
	}
	return errors.Join(errs...)
}
