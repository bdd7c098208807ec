package peercred

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// accept listens at a path that everybody may connect to and returns the
// first connection's credentials.
func accept(t *testing.T, connect func(path string)) Cred {
	t.Helper()
	dir, err := os.MkdirTemp("", "peercred")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for p, mode := range map[string]os.FileMode{dir: 0o755, path: 0o777} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	connect(path)
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cred, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestOwnProcess(t *testing.T) {
	cred := accept(t, func(path string) {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	})
	if cred.PID != os.Getpid() || cred.UID != os.Getuid() || cred.GID != os.Getgid() {
		t.Errorf("credentials %+v of process %d", cred, os.Getpid())
	}
}

// TestOtherUser connects as a user with more groups than the first buffer
// holds.
func TestOtherUser(t *testing.T) {
	var groups []uint32
	var want []int
	for g := uint32(5000); g < 5100; g++ {
		groups, want = append(groups, g), append(want, int(g))
	}
	var cmd *exec.Cmd
	cred := accept(t, func(path string) {
		cmd = exec.Command("/usr/bin/perl", "-MIO::Socket::UNIX", "-e", `IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!`, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4000, Gid: 4001, Groups: groups}}
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	})
	if cred.UID != 4000 || cred.GID != 4001 || cred.PID != cmd.Process.Pid {
		t.Errorf("credentials %+v, want 4000:4001 of %d", cred, cmd.Process.Pid)
	}
	slices.Sort(cred.Groups)
	if !slices.Equal(cred.Groups, want) {
		t.Errorf("groups %v", cred.Groups)
	}
}
