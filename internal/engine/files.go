package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/names"
)

// namedNetns are the folders in which ip-netns(8) keeps named namespaces, and
// whose names it looks up in /etc/netns.
var namedNetns = []string{"/run/netns", "/var/run/netns"}

// writeFiles writes the sandbox's hosts, resolv.conf and hostname, in place,
// so that who has them bound sees the change.
func (e *Engine) writeFiles(r *record, u *undo) error {
	if len(r.EtcFiles) == 0 {
		return nil
	}
	if err := makeFolder(r.Etc, 0o755); err != nil {
		return fmt.Errorf("make files of %s: %w", r.Name, err)
	}
	u.add(func() { e.report("take back folder", r.Name, e.removeFolders(r)) })
	for _, name := range r.EtcFiles {
		path := filepath.Join(r.Etc, name)
		if _, err := os.Lstat(path); err != nil {
			u.add(func() { e.report("take back file", r.Name, removeFile(path)) })
		}
		if err := names.WriteInPlace(path, e.content(r, name)); err != nil {
			return fmt.Errorf("write files of %s: %w", r.Name, err)
		}
	}
	return nil
}

// renewFiles writes every resolv.conf anew if the host's has changed.
func (e *Engine) renewFiles() {
	host := fmt.Sprint(e.o.Names.HostConf())
	if host == e.written {
		return
	}
	e.written = host
	for _, r := range e.records() {
		if !slices.Contains(r.EtcFiles, "resolv.conf") {
			continue
		}
		sb, now, err := e.lockSandbox(r.ID)
		if err != nil {
			continue // it has just been removed
		}
		if now.State == catenet.StateRunning {
			err = names.WriteInPlace(filepath.Join(now.Etc, "resolv.conf"), e.content(now, "resolv.conf"))
		}
		sb.op.Unlock()
		e.report("write resolv.conf", r.Name, err)
	}
}

// placeFiles says where the sandbox's files are, once for each run. An attached
// namespace has them where ip-netns(8) would look, if it has a name there; files
// that somebody else put there stay as they are.
func (e *Engine) placeFiles(r *record) {
	switch {
	case r.Etc != "": // that of the container in container:NAME
		return
	case r.Mode == catenet.ModeHost:
		// The host's own files, unless something else was asked for.
		if len(r.ExtraHosts) > 0 {
			r.EtcFiles = append(r.EtcFiles, "hosts")
		}
		if len(r.DNS.Servers)+len(r.DNS.Search)+len(r.DNS.Options) > 0 {
			r.EtcFiles = append(r.EtcFiles, "resolv.conf")
		}
		r.Etc = e.filesDir(r.ID)
		return
	case r.Owner == catenet.OwnerRun:
		r.Etc, r.EtcFiles = e.filesDir(r.ID), []string{"hosts", "resolv.conf", "hostname"}
		return
	case r.Rootfs != "":
		r.Etc, r.EtcFiles = e.filesDir(r.ID), []string{"hosts", "resolv.conf"}
		r.EtcDirs = []string{r.Etc}
		return
	}
	if r.Owner != catenet.OwnerAttach || r.Parked { // its runtime writes them
		return
	}
	dir, name := filepath.Split(r.Target.Path)
	if r.Target.PID != 0 || !slices.Contains(namedNetns, strings.TrimSuffix(dir, "/")) {
		r.Warnings = append(r.Warnings, "the namespace has no name in /run/netns, so there is no /etc/netns folder for its resolv.conf and hosts: names are answered at 127.0.0.11")
		return
	}
	r.Etc = filepath.Join(e.o.EtcNetns, name)
	e.placeFolders(r)
	for _, f := range []string{"hosts", "resolv.conf"} {
		if _, err := os.Lstat(filepath.Join(r.Etc, f)); err == nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s is somebody else's and stays as it is", filepath.Join(r.Etc, f)))
			continue
		}
		r.EtcFiles = append(r.EtcFiles, f)
	}
}

// placeFolders says which of the folders of an attached namespace's files are
// ours to remove: those that were not there before us. The upper one may have
// been made for another sandbox of ours; it goes with the last of them.
func (e *Engine) placeFolders(r *record) {
	missing := func(dir string) bool {
		_, err := os.Lstat(dir)
		return errors.Is(err, os.ErrNotExist)
	}
	if missing(r.Etc) {
		r.EtcDirs = append(r.EtcDirs, r.Etc)
	}
	if missing(e.o.EtcNetns) {
		e.madeEtcNetns.Store(true)
	}
	if e.madeEtcNetns.Load() {
		r.EtcDirs = append(r.EtcDirs, e.o.EtcNetns)
	}
}

// layFiles mounts the sandbox's files over those of a container that somebody
// else started, if it said where its root is.
func (e *Engine) layFiles(ctx context.Context, r *record, u *undo) error {
	if r.Rootfs == "" {
		return nil
	}
	u.add(func() { e.report("take back files", r.Name, e.liftFiles(context.WithoutCancel(ctx), r)) })
	for _, name := range r.EtcFiles {
		laid, err := e.o.Mounts.Lay(ctx, r.Target, r.Rootfs, filepath.Join(r.Etc, name))
		if err != nil {
			return err
		}
		if !laid {
			r.Warnings = append(r.Warnings, fmt.Sprintf("/etc/%s of the container is a mount of somebody else's and stays as it is", name))
		}
	}
	return nil
}

// liftFiles is the opposite.
func (e *Engine) liftFiles(ctx context.Context, r *record) error {
	if r.Rootfs == "" {
		return nil
	}
	var errs []error
	for _, name := range r.EtcFiles {
		errs = append(errs, e.o.Mounts.Lift(ctx, r.Target, r.Rootfs, filepath.Join(r.Etc, name)))
	}
	return errors.Join(errs...)
}

// removeFiles removes what writeFiles wrote, and the folders that it made if
// nothing else is in them.
func (e *Engine) removeFiles(r *record) error {
	if r.Etc == "" || len(r.EtcFiles) == 0 {
		return nil
	}
	if r.Owner == catenet.OwnerRun {
		return removeAll(r.Etc)
	}
	var errs []error
	for _, name := range r.EtcFiles {
		errs = append(errs, removeFile(filepath.Join(r.Etc, name)))
	}
	return errors.Join(append(errs, e.removeFolders(r))...)
}

// removeFolders removes those of a sandbox's folders that were made for it and
// are empty.
func (e *Engine) removeFolders(r *record) error {
	dirs := r.EtcDirs
	if r.Owner == catenet.OwnerRun {
		dirs = []string{r.Etc}
	}
	for _, dir := range dirs {
		switch err := removeFile(dir); {
		case errors.Is(err, os.ErrExist): // something is in it
			return nil
		case err != nil:
			return err
		case dir == e.o.EtcNetns:
			e.madeEtcNetns.Store(false)
		}
	}
	return nil
}
