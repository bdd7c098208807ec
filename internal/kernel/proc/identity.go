// Package proc reads what proc(5) and pidfd_open(2) tell of processes: who one
// is for certain, when it has ended, and which mounts it sees.
package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Identity is a process for certain: its number alone may belong to another
// one by now.
type Identity struct {
	PID   int
	Start uint64 // clock ticks since boot, proc(5), field 22 of stat
}

// ErrGone says that a process has ended.
var ErrGone = errors.New("the process has ended")

// Identify returns who the process with that number is now.
func Identify(pid int) (Identity, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Identity{}, ErrGone
	}
	if err != nil {
		return Identity{}, err
	}
	start, err := parseStart(stat)
	return Identity{PID: pid, Start: start}, err
}

// parseStart finds the start time in the text of a stat file.
func parseStart(stat []byte) (uint64, error) {
	// Field 2 is the name in parentheses, and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("read /proc stat: too short")
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, err
	}
	return start, nil
}

// Open returns a descriptor of the process (pidfd_open(2)) that is readable
// once it has ended, or ErrGone.
func (id Identity) Open() (int, error) {
	if id.PID <= 0 {
		return -1, ErrGone
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: the number is a thread's now
		return -1, ErrGone
	}
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	// What is open can't be reused any more: now the number can be checked.
	now, err := Identify(id.PID)
	if err == nil && now != id {
		err = ErrGone
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
