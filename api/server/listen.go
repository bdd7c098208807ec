package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel/peercred"
)

// DefaultGroup is the group whose members may use the socket.
const DefaultGroup = "catenet"

// Listener is a unix socket that lets in root, the user of this process and
// the members of the socket's group, and logs each.
type Listener struct {
	path, group string
	log         *slog.Logger

	mu       sync.Mutex // guards all below
	gid      int
	now      *net.UnixListener
	deadline time.Time
	closed   bool
}

// Listen makes the socket at path: mode 0660, of that group where there is
// one, else of the process's own. A socket that nobody listens on any more
// (its daemon was killed) is replaced; one that a living daemon answers on is
// a conflict, and so is a file that is no socket.
func Listen(ctx context.Context, path, group string, log *slog.Logger) (*Listener, error) {
	if err := ClearStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := bind(path)
	if err != nil {
		return nil, err
	}
	return owned(l, path, group, log)
}

// bind makes the socket and the folder it is in.
func bind(path string) (*net.UnixListener, error) {
	failpoint.Before("listen.folder")
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	failpoint.After("listen.folder")
	if err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	failpoint.Before("listen.socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	failpoint.After("listen.socket")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Inherit is Listen with a socket that was made by it in another program.
func Inherit(f *os.File, group string, log *slog.Logger) (*Listener, error) {
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over listening socket: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("take over listening socket: a %T is none", l), l.Close())
	}
	u.SetUnlinkOnClose(true) // as it was
	return owned(u, u.Addr().String(), group, log)
}

func owned(l *net.UnixListener, path, group string, log *slog.Logger) (*Listener, error) {
	gid, err := own(path, group)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // one whose file is gone is made anew by Keep
		l.Close()
		return nil, err
	}
	return &Listener{path: path, group: group, log: log, gid: gid, now: l}, nil
}

// ClearStale removes a socket file that nobody listens on. One that a daemon
// answers on is a conflict, and so is a file that is no socket.
func ClearStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return catenet.Conflictf("%s exists and is no socket", path).WithHint("remove it, or listen elsewhere")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return catenet.Conflictf("a daemon listens on %s already", path).WithHint("stop it, or give this one folders of its own (--run-dir, --state-dir)")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("ask the daemon on %s: %w", path, err)
	}
	failpoint.Before("listen.stale")
	err = os.Remove(path)
	failpoint.After("listen.stale")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// own gives the socket its group and mode, and returns the group.
func own(path, group string) (gid int, err error) {
	gid = os.Getegid()
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return 0, fmt.Errorf("read ID of group %s: %w", group, err)
		}
		if err := os.Chown(path, -1, gid); err != nil {
			return 0, fmt.Errorf("set group of socket: %w", err)
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return 0, fmt.Errorf("set mode of socket: %w", err)
	}
	return gid, nil
}

// Accept returns the next connection that is let in. The mode of the socket
// says the same already; this holds also where somebody changed it.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		from := l.current()
		c, err := from.AcceptUnix()
		if err != nil && from != l.current() {
			continue // it was made anew
		}
		if err != nil {
			return nil, err
		}
		cred, err := peercred.Of(c)
		if err == nil && l.allows(cred) {
			l.log.Info("connection", "pid", cred.PID, "uid", cred.UID, "gid", cred.GID)
			return c, nil
		}
		l.log.Warn("connection refused", "pid", cred.PID, "uid", cred.UID, "gid", cred.GID, "err", err)
		c.Close()
	}
}

func (l *Listener) allows(c peercred.Cred) bool {
	l.mu.Lock()
	gid := l.gid
	l.mu.Unlock()
	return c.UID == 0 || c.UID == os.Geteuid() || c.GID == gid || slices.Contains(c.Groups, gid)
}

// SyscallConn is the socket as it is now.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.current().SyscallConn() }
