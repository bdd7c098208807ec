package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/api/server"
)

// running serves an engine with a running container "a".
func running(t *testing.T) (string, *client.Client) {
	t.Helper()
	e := apitest.New()
	t.Cleanup(e.Close)
	host, c := apitest.Serve(t, e)
	spec := catenet.SandboxSpec{Name: "a", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep", "60"}}}
	if _, err := c.CreateSandbox(t.Context(), spec, true); err != nil {
		t.Fatal(err)
	}
	return host, c
}

func TestExec(t *testing.T) {
	_, c := running(t)
	for _, tc := range []struct {
		script, in, out, err string
		code                 int
	}{
		{"echo hi", "", "hi\n", "", 0},
		{"echo no >&2; exit 7", "", "", "no\n", 7},
		{"cat", "hello", "hello", "", 0},
		{"echo $X", "", "y\n", "", 0},
	} {
		var out, errOut bytes.Buffer
		code, err := c.Exec(t.Context(), "a", catenet.ExecSpec{Args: []string{"sh", "-c", tc.script}, Env: []string{"X=y"}}, strings.NewReader(tc.in), &out, &errOut)
		if err != nil || code != tc.code || out.String() != tc.out || errOut.String() != tc.err {
			t.Errorf("%q: %d %v, out %q, err %q", tc.script, code, err, &out, &errOut)
		}
	}
}

func TestExecRefused(t *testing.T) {
	_, c := running(t)
	if _, err := c.Exec(t.Context(), "b", catenet.ExecSpec{Args: []string{"true"}}, nil, io.Discard, io.Discard); !catenet.IsNotFound(err) {
		t.Errorf("no container: %v", err)
	}
	if _, err := c.Exec(t.Context(), "a", catenet.ExecSpec{}, nil, io.Discard, io.Discard); !catenet.IsInvalid(err) {
		t.Errorf("no command: %v", err)
	}
	// This is found out only after the upgrade.
	if _, err := c.Exec(t.Context(), "a", catenet.ExecSpec{Args: []string{"/nonexistent"}}, nil, io.Discard, io.Discard); !catenet.IsInvalid(err) || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("no such program: %v", err)
	}
}

// TestExecBulk carries more than the window both ways.
func TestExecBulk(t *testing.T) {
	_, c := running(t)
	in := make([]byte, 8*api.Window+123)
	rand.Read(in)
	sum := sha256.New()
	n := &counter{w: sum}
	code, err := c.Exec(t.Context(), "a", catenet.ExecSpec{Args: []string{"cat"}}, bytes.NewReader(in), n, io.Discard)
	if err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if want := sha256.Sum256(in); n.n != len(in) || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d of %d bytes came back", n.n, len(in))
	}
}

type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return c.w.Write(p) }

// TestExecClientAborts: the program is killed when its client goes away, even
// one that says nothing and does not read what it is sent.
func TestExecClientAborts(t *testing.T) {
	_, c := running(t)
	mark := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Exec(ctx, "a", catenet.ExecSpec{Args: []string{"sh", "-c", "echo $$ > " + mark + "; exec sleep 60"}}, xs{}, io.Discard, io.Discard)
		done <- err
	}()
	var pid string
	for pid == "" {
		b, err := os.ReadFile(mark)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		pid = strings.TrimSpace(string(b))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // until the window is full
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("exec: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s runs on", pid)
		}
	}
}

// TestExecFloods: a client that sends more than it may is cut off.
func TestExecFloods(t *testing.T) {
	host, _ := running(t)
	conn, err := net.Dial("unix", strings.TrimPrefix(host, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequest(http.MethodPost, "http://x/v1/sandboxes/a/exec", strings.NewReader(`{"args":["sleep","60"]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", api.TypeJSON)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", api.ExecProtocol)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, api.MaxFrame)
	for sent := 0; ; sent += len(part) {
		if api.WriteFrame(conn, api.FrameStdin, part) != nil {
			return
		}
		// What the kernel buffers comes on top of the window.
		if sent > 64*api.Window {
			t.Fatal("the server goes on reading")
		}
	}
}

// undying is an engine whose programs cannot be killed.
type undying struct {
	server.FullEngine
	began, free chan struct{}
}

func (u undying) Exec(context.Context, string, catenet.ExecSpec, io.Reader, io.Writer, io.Writer) (int, error) {
	close(u.began)
	<-u.free
	return 0, nil
}

// TestShutdownDoesNotWaitForever: a program that cannot be killed is waited for
// no longer than anything else, and its client is cut off.
func TestShutdownDoesNotWaitForever(t *testing.T) {
	e := apitest.New()
	defer e.Close()
	u := undying{e, make(chan struct{}), make(chan struct{})}
	defer close(u.free)
	log := slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "s")
	l, err := server.Listen(t.Context(), path, "", log)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(u, log)
	go s.Serve(l)
	c, err := client.New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	spec := catenet.SandboxSpec{Name: "a", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep", "60"}}}
	if _, err := c.CreateSandbox(t.Context(), spec, true); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "a", catenet.ExecSpec{Args: []string{"true"}}, nil, io.Discard, io.Discard)
		asked <- err
	}()
	<-u.began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	for _, ends := range []struct {
		who  string
		with chan error
	}{{"the server", done}, {"the client", asked}} {
		select {
		case err := <-ends.with:
			if err == nil {
				t.Errorf("%s: no error", ends.who)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s still waits", ends.who)
		}
	}
}
