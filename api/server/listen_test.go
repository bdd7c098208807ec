package server

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/peercred"
)

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "catenet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "run", "s")
}

func TestListenModeAndGroup(t *testing.T) {
	path := socket(t)
	g, err := user.LookupGroup("nogroup")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path, "nogroup", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != os.ModeSocket|0o660 || strconv.Itoa(int(st.Sys().(*syscall.Stat_t).Gid)) != g.Gid {
		t.Errorf("mode %v, group %d", st.Mode(), st.Sys().(*syscall.Stat_t).Gid)
	}
}

func TestListenStaleAndLiving(t *testing.T) {
	path, log := socket(t), slog.New(slog.DiscardHandler)
	l, err := Listen(t.Context(), path, "", log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path, "", log); !catenet.IsConflict(err) || catenet.HintOf(err) == "" {
		t.Errorf("beside a living daemon: %v", err)
	}
	// As SIGKILL leaves it: the file without a listener.
	l.now.SetUnlinkOnClose(false)
	l.Close()
	if l, err = Listen(t.Context(), path, "", log); err != nil {
		t.Fatalf("in place of a dead one: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path, "", log); !catenet.IsConflict(err) {
		t.Errorf("in place of a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

// TestStrangerIsRefused opens the socket to everybody, and still lets in only
// those whom its owner and group name. Each connection is logged.
func TestStrangerIsRefused(t *testing.T) {
	path := socket(t)
	var out strings.Builder
	l, err := Listen(t.Context(), path, "nogroup", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for p, mode := range map[string]os.FileMode{path: 0o666, filepath.Dir(path): 0o755} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(cred *syscall.Credential) {
		t.Helper()
		cmd := exec.Command("/usr/bin/perl", "-MIO::Socket::UNIX", "-e", `IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!`, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	connect(&syscall.Credential{Uid: 4000, Gid: 4000})
	connect(&syscall.Credential{Uid: 4001, Gid: uint32(l.gid)})
	connect(&syscall.Credential{Uid: 4002, Gid: 4002, Groups: []uint32{uint32(l.gid)}})
	// All of them wait already: one that is refused must not be waited for.
	if err := l.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []int{4001, 4002} {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("user %d: %v", uid, err)
		}
		defer c.Close()
		if cred, err := peercred.Of(c.(*net.UnixConn)); err != nil || cred.UID != uid {
			t.Errorf("let in: %+v, %v, want user %d", cred, err, uid)
		}
	}
	l.Close()
	for _, want := range []string{"connection refused", "uid=4000", "msg=connection ", "uid=4001", "uid=4002"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &out)
		}
	}
}

// TestTheSocketComesBack, with its folder, when somebody removes them; what is
// in its place is left alone, and after the end nothing is made.
func TestTheSocketComesBack(t *testing.T) {
	path := socket(t)
	l, err := Listen(t.Context(), path, "nogroup", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		accepted <- err
	}()
	if err := os.WriteFile(path+"2", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	if made, err := l.remake(); made || err != nil {
		t.Errorf("in place of a file: %v, %v", made, err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	go l.Keep(t.Context())
	var c net.Conn
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err = net.Dial("unix", path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != os.ModeSocket|0o660 {
		t.Errorf("%v, %v", st, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if made, err := l.remake(); made || err != nil {
		t.Errorf("after the end: %v, %v", made, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}
