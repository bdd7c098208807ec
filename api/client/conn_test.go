package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catenet/catenet"
)

// daemon serves h at a socket until stop is called, and counts connections.
func daemon(t *testing.T, path string, h http.HandlerFunc) (conns *atomic.Int64, stop func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conns = new(atomic.Int64)
	s := &http.Server{Handler: h, ConnState: func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	stop = sync.OnceFunc(func() { s.Close(); <-done })
	t.Cleanup(stop)
	return conns, stop
}

func dialed(t *testing.T, path string) *Client {
	t.Helper()
	c, err := New("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func version(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"1"}`) }

func TestConnectionIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	conns, _ := daemon(t, path, version)
	c := dialed(t, path)
	for range 5 {
		if v, err := c.Version(t.Context()); err != nil || v.Version != "1" {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for five calls", n)
	}
}

// TestAnotherDaemonAtTheSamePlace: a kept connection that ended meanwhile is
// no error of the next call.
func TestAnotherDaemonAtTheSamePlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	c := dialed(t, path)
	for i := range 3 {
		_, stop := daemon(t, path, version)
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatalf("daemon %d: %v", i, err)
		}
		stop()
	}
	if _, err := c.Version(t.Context()); catenet.KindOf(err) != catenet.KindUnavailable {
		t.Errorf("with no daemon: %v", err)
	}
}

func TestContextEndsCall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	var slow atomic.Bool
	asked := make(chan struct{}, 1)
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK) // the head goes, the body does not
			_ = http.NewResponseController(w).Flush()
			asked <- struct{}{}
			<-r.Context().Done()
			return
		}
		version(w, r)
	})
	c := dialed(t, path)
	slow.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := c.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
	slow.Store(false)
	if _, err := c.Version(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestAnswerBeforeTheBodyIsSent: a daemon that refuses a request without
// reading all of it is heard.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 10)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		fmt.Fprint(w, `{"kind":"invalid","message":"too large"}`)
	})
	spec := catenet.NetworkSpec{Name: strings.Repeat("x", 10<<20)}
	_, _, err := dialed(t, path).CreateNetwork(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond)
		version(w, r)
	})
	c := dialed(t, path)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 10 {
				if v, err := c.Version(t.Context()); err != nil || v.Version != "1" {
					t.Errorf("%+v, %v", v, err)
				}
			}
		})
	}
	wg.Wait()
}
