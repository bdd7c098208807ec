package apitest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/api/server"
)

// Serve serves an engine on a socket of its own until the test ends, and
// returns its address and a client.
func Serve(t testing.TB, e server.FullEngine) (host string, c *client.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "catenet") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := server.Listen(t.Context(), path, server.DefaultGroup, log)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(e, log)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err = client.New("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "unix://" + path, c
}
