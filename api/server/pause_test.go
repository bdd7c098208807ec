package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/server"
)

// TestAPauseLosesNoClient has one server take over from another: a client that
// has just come, one that keeps its connection, and one that comes meanwhile are
// answered by the next, and so is one that is being answered by the first.
func TestAPauseLosesNoClient(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "s")
	l, err := server.Listen(t.Context(), path, server.DefaultGroup, log)
	if err != nil {
		t.Fatal(err)
	}
	first, served := start(t, l, nil)
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	kept, fresh, busy := dial(), dial(), dial()
	get(t, kept)
	get(t, busy)
	send(t, busy, "GET /ver") // a request is under way: it is waited for
	taken(t, busy)
	paused := make(chan []server.Kept)
	go func() {
		all, err := first.Pause(t.Context())
		if err != nil {
			t.Error(err)
		}
		paused <- all
	}()
	if err := <-served; err != nil { // nobody is taken any more
		t.Error(err)
	}
	late := dial()
	send(t, late, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	send(t, busy, "sion HTTP/1.1\r\nHost: x\r\n\r\n")
	answer(t, busy)
	all := <-paused
	if len(all) != 3 {
		t.Errorf("%d connections are kept, want those of three clients", len(all))
	}
	send(t, kept, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	second, served := start(t, l, all)
	answer(t, kept)
	answer(t, late)
	for _, c := range []net.Conn{fresh, kept, late, busy} {
		get(t, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := second.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, c := range []net.Conn{kept, late, fresh, busy} {
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the end of the second a client reads %d bytes, %v", n, err)
		}
	}
}

// taken waits until what was sent on a connection has been read.
func taken(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for waiting := 1; waiting > 0; time.Sleep(5 * time.Millisecond) {
		if cerr := raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
	}
}

func start(t *testing.T, l net.Listener, kept []server.Kept) (*server.Server, <-chan error) {
	s := server.New(apitest.New(), slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, kept...) }()
	return s, served
}

func get(t *testing.T, c net.Conn) {
	t.Helper()
	send(t, c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	answer(t, c)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := fmt.Fprint(c, s); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
}
