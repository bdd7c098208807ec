package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// Record says who runs the container.
type Record struct {
	Shim, Init proc.Identity
}

// Exit says how the container ended.
type Exit struct {
	Code     int // 128 + signal if a signal ended it
	Finished time.Time
}

// StderrPath is where the shim's own standard error goes.
func StderrPath(dir string) string { return filepath.Join(dir, "stderr") }

func pidPath(dir string) string  { return filepath.Join(dir, "pid") }
func exitPath(dir string) string { return filepath.Join(dir, "exit") }

// WriteRecord writes the pid file: four numbers in one line.
func WriteRecord(dir string, r Record) error {
	return replace(pidPath(dir), strings.Join([]string{
		strconv.Itoa(r.Shim.PID), strconv.FormatUint(r.Shim.Start, 10),
		strconv.Itoa(r.Init.PID), strconv.FormatUint(r.Init.Start, 10),
	}, " "))
}

// ReadRecord returns the pid file, or an os.ErrNotExist.
func ReadRecord(dir string) (Record, error) {
	var r Record
	words, err := words(pidPath(dir), 4)
	if err != nil {
		return r, err
	}
	var errs [4]error
	r.Shim.PID, errs[0] = strconv.Atoi(words[0])
	r.Shim.Start, errs[1] = strconv.ParseUint(words[1], 10, 64)
	r.Init.PID, errs[2] = strconv.Atoi(words[2])
	r.Init.Start, errs[3] = strconv.ParseUint(words[3], 10, 64)
	return r, errors.Join(errs[:]...)
}

// WriteExit writes the exit file: the code, and the time as RFC 3339.
func WriteExit(dir string, e Exit) error {
	return replace(exitPath(dir), strconv.Itoa(e.Code)+" "+e.Finished.UTC().Format(time.RFC3339Nano))
}

// ReadExit returns the exit file, or an os.ErrNotExist.
func ReadExit(dir string) (Exit, error) {
	var e Exit
	words, err := words(exitPath(dir), 2)
	if err != nil {
		return e, err
	}
	var errs [2]error
	e.Code, errs[0] = strconv.Atoi(words[0])
	e.Finished, errs[1] = time.Parse(time.RFC3339Nano, words[1])
	return e, errors.Join(errs[:]...)
}

// Clear forgets an earlier run. The folder must be locked.
func Clear(dir string) error {
	for _, path := range []string{exitPath(dir), pidPath(dir)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replace writes a file so that a reader sees the old one or the new one.
func replace(path, content string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(content+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func words(path string, n int) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(b))
	if len(words) != n {
		return nil, errors.New("read " + path + ": not written by catenet-shim")
	}
	return words, nil
}
