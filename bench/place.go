package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/netns"
)

// Bench is what one row stands on: a folder, and the hosts made in it.
type Bench struct {
	Dir    string
	rounds int
	places []string
	close  []func() error // run last to first
	made   int
	ns     *netns.Namespaces
}

func newBench(rounds int) (*Bench, error) {
	dir, err := os.MkdirTemp("/tmp", "cnbench-")
	if err != nil {
		return nil, err
	}
	return &Bench{Dir: dir, rounds: rounds, ns: netns.New()}, nil
}

// Rounds is how many pairs a row takes: the user's word, or what fits it.
func (b *Bench) Rounds(fits int) int {
	if b.rounds > 0 {
		return b.rounds
	}
	return fits
}

// Close removes everything.
func (b *Bench) Close() error {
	var errs []error
	for i := len(b.close) - 1; i >= 0; i-- {
		errs = append(errs, b.close[i]())
	}
	for _, p := range b.places {
		errs = append(errs, b.ns.Unpin(context.Background(), p))
	}
	return errors.Join(append(errs, os.RemoveAll(b.Dir))...)
}

// Place makes a namespace: a host, or a container.
func (b *Bench) Place(ctx context.Context) (string, error) {
	b.made++
	path := filepath.Join(b.Dir, "ns", fmt.Sprint(b.made))
	if err := b.ns.Create(ctx, path); err != nil {
		return "", err
	}
	b.places = append(b.places, path)
	return path, nil
}

// Folder makes a folder for what a host's programs keep.
func (b *Bench) Folder(name string) (string, error) {
	b.made++
	dir := filepath.Join(b.Dir, fmt.Sprintf("%s%d", name, b.made))
	return dir, os.Mkdir(dir, 0o700)
}

// RunFolder makes a folder for what a host's programs keep below /run: on a
// tmpfs, as that is.
func (b *Bench) RunFolder(name string) (string, error) {
	top := filepath.Join(b.Dir, "run")
	err := os.Mkdir(top, 0o711)
	if err == nil {
		if err = unix.Mount("tmpfs", top, "tmpfs", 0, "mode=0711"); err != nil {
			return "", fmt.Errorf("mount run folder: %w", err)
		}
		// First in the list: last to run.
		b.close = slices.Insert(b.close, 0, func() error {
			if err := unix.Unmount(top, 0); err != nil {
				return fmt.Errorf("unmount run folder: %w", err)
			}
			return nil
		})
	} else if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	b.made++
	dir := filepath.Join(top, fmt.Sprintf("%s%d", name, b.made))
	return dir, os.Mkdir(dir, 0o711)
}

// Places makes n of them.
func (b *Bench) Places(ctx context.Context, n int) ([]string, error) {
	all := make([]string, n)
	for i := range all {
		var err error
		if all[i], err = b.Place(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Forget removes places that are done with, so that the machine does not fill.
func (b *Bench) Forget(ctx context.Context, paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, b.ns.Unpin(ctx, p))
	}
	return errors.Join(errs...)
}

// Swept waits until the kernel has taken down all namespaces that were
// forgotten, so that its work falls into nobody's figure: it takes them in
// turn, and one more comes last.
func (b *Bench) Swept(ctx context.Context) error {
	host, err := b.Place(ctx)
	if err != nil {
		return err
	}
	last, err := b.Place(ctx)
	if err != nil {
		return err
	}
	if _, err := b.tool(ctx, host, "ip", "link", "add", "last", "type", "veth", "peer", "name", "last", "netns", last); err != nil {
		return err
	}
	if err := b.Forget(ctx, last); err != nil {
		return err
	}
	err = until(ctx, "namespaces to go", func() bool {
		_, err := b.tool(ctx, host, "ip", "link", "show", "last")
		return err != nil
	})
	return errors.Join(err, b.Forget(ctx, host))
}

// in runs fn on a thread in the namespace at path. Programs started by fn
// begin their life there without an nsenter, whose cost is not theirs.
func (b *Bench) in(path string, fn func() error) error {
	ns, err := b.ns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return netns.Do(ns, fn)
}

// tool runs a program in the namespace at path and returns what it printed.
func (b *Bench) tool(ctx context.Context, path string, argv ...string) (string, error) {
	var out []byte
	err := b.in(path, func() error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
		return nil
	})
	return string(out), err
}

// daemon starts a program that stays, in the namespace at path, and ends it
// with the bench.
func (b *Bench) daemon(path string, argv ...string) error {
	_, err := b.process(path, argv...)
	return err
}

// process is daemon, and returns the process.
func (b *Bench) process(path string, argv ...string) (*os.Process, error) {
	log, err := os.Create(filepath.Join(b.Dir, filepath.Base(argv[0])+"-"+fmt.Sprint(len(b.close))+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := b.in(path, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	b.close = append(b.close, func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		late := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
			return err
		}
		return nil
	})
	return cmd.Process, nil
}

// until polls ok, for at most ten seconds.
func until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
