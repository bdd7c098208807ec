package store

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const envFolders = "CATENET_TEST_FOLDERS"

// TestWhatIsSynced runs itself again as a process whose disk fails at every
// fsync(2) and fdatasync(2): what needs them says so, the live file does not
// need them.
func TestWhatIsSynced(t *testing.T) {
	o := folders(t)
	if dir := os.Getenv(envFolders); dir != "" {
		o.StateDir, o.RunDir = dir+"/state", dir+"/run"
		withoutSync(t, o)
		return
	}
	dir := t.TempDir()
	o.StateDir, o.RunDir = dir+"/state", dir+"/run"
	s := open(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWhatIsSynced$", "-test.v")
	cmd.Env = append(os.Environ(), envFolders+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func withoutSync(t *testing.T, o Options) {
	s := open(t, o)
	fail(t, unix.SYS_FDATASYNC)
	update := func(c Class) error {
		return s.Update(c, func(tx *Tx) error { return tx.Put("a", "1", item{Name: "x"}) })
	}
	if err := update(Durable); !errors.Is(err, unix.EIO) {
		t.Errorf("a durable record is not synced: %v", err)
	}
	if err := update(Live); err != nil {
		t.Errorf("a live record is synced: %v", err)
	}
	fail(t, unix.SYS_FSYNC)
	if err := syncDir(o.StateDir); !errors.Is(err, unix.EIO) {
		t.Errorf("the folder is not synced: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Of an Open that has nothing to write only this is left.
	if _, err := Open(o); !errors.Is(err, unix.EIO) {
		t.Errorf("the folder is not synced when a file is made: %v", err)
	}
}

// fail makes a system call fail with EIO for the rest of this process's life:
// seccomp(2).
func fail(t *testing.T, call uint32) {
	t.Helper()
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // its number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EIO)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p))); errno != 0 {
		t.Fatal(errno)
	}
}
