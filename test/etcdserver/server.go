// Package etcdserver runs Debian's etcd for tests: one member with a data folder
// of its own, that is killed and started as a test likes.
package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// Server is one etcd.
type Server struct {
	// Endpoint is the URL that clients ask. Unix is another one without TLS, by which
	// it is reached from outside of its network namespace.
	Endpoint, Unix string

	t      testing.TB
	args   []string // the command, with what enters the namespace
	folder string
	cmd    *exec.Cmd
	log    output
}

// Options are what a server is to be beside the usual; zero is that.
type Options struct {
	NS   string // path of a network namespace that it runs in; "": the test's
	Host string // address in that namespace that it listens at
	// Certs has it speak TLS, and ask each client for a certificate.
	Certs *Certs
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	folder, err := os.MkdirTemp("", "etcd") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	port, scheme := "2379", "http"
	if o.NS == "" {
		o.Host, port = "127.0.0.1", holdPort(t)
	}
	if o.Certs != nil {
		scheme = "https"
	}
	s := &Server{t: t, folder: folder, Endpoint: scheme + "://" + net.JoinHostPort(o.Host, port)}
	if o.NS != "" {
		s.args = []string{"nsenter", "--net=" + o.NS}
	}
	// Names of sockets must look like HOST:PORT, and are in the folder it runs in.
	s.Unix = "unix://" + filepath.Join(folder, "clients:1")
	s.args = append(s.args, "etcd", "--data-dir", "data", "--log-level", "error", "--logger", "zap",
		"--listen-client-urls", s.Endpoint+",unix://clients:1", "--advertise-client-urls", s.Endpoint,
		"--listen-peer-urls", "unix://peers:1", "--initial-advertise-peer-urls", "unix://peers:1", "--initial-cluster", "default=unix://peers:1",
		// One member needs no patience, and short leases are as long as asked for.
		"--heartbeat-interval", "10", "--election-timeout", "100")
	if o.Certs != nil {
		s.args = append(s.args, "--cert-file", o.Certs.ServerCert, "--key-file", o.Certs.ServerKey, "--client-cert-auth", "--trusted-ca-file", o.Certs.CA)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("etcd said:\n%s", s.log.String())
		}
		os.RemoveAll(folder)
	})
	s.Start()
	return s
}

// holdPort returns a port of the loopback address that nobody else is given until
// the test ends, also while the server is dead: it is bound, and may be bound once
// more by who asks for it by number (SO_REUSEADDR, socket(7)).
func holdPort(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(addr.(*unix.SockaddrInet4).Port)
}

// Start starts the server again, with its data.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.folder, &s.log, &s.log
	os.Remove(filepath.Join(s.folder, "clients:1"))
	os.Remove(filepath.Join(s.folder, "peers:1"))
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := s.healthy()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("etcd does not answer: %v", err)
		}
	}
}

// healthy asks whether the server serves. One that is killed before it ever did may
// have a log without itself as a member, with which it never does.
func (s *Server) healthy() error {
	at := strings.TrimPrefix(s.Unix, "unix://")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", at)
	}
	c := http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	r, err := c.Get("http://etcd/health")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %s", r.Status)
	}
	return nil
}

// Kill ends the server at once; what it has acknowledged is on its disk.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// output is what a server says, for those who ask why.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Snapshot keeps the data of a server that is killed, and returns what puts them
// back: to what it was then, as a restore from a backup does.
func (s *Server) Snapshot() (restore func()) {
	s.t.Helper()
	data, saved := filepath.Join(s.folder, "data"), filepath.Join(s.folder, "saved")
	if err := os.CopyFS(saved, os.DirFS(data)); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if err := errors.Join(os.RemoveAll(data), os.Rename(saved, data)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Freeze stops the server in the middle of what it does: its connections stay
// open. Kill ends that too.
func (s *Server) Freeze() {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	for running := true; running; time.Sleep(time.Millisecond) { // a thread stops when it next runs
		running = false
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			running = running || err == nil && !bytes.Contains(stat, []byte(") T "))
		}
	}
}

// EnableAuth has the server ask for passwords from now on, and makes a user who
// may do all below a prefix.
func (s *Server) EnableAuth(c *clientv3.Client, user, password, prefix string) {
	s.t.Helper()
	ctx := s.t.Context()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, user, password); return err },
		func() error { _, err := c.RoleAdd(ctx, user); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, user, user); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			s.t.Fatal(err)
		}
	}
}
