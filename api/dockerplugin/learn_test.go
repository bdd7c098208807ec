package dockerplugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// dockerd serves a stand-in for its API, and returns a plugin that learns from it.
func dockerd(t *testing.T, serve http.HandlerFunc) *Plugin {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: serve}}
	s.Start()
	t.Cleanup(s.Close)
	p := newPlugin()
	p.host = newHost(socket)
	return p
}

// TestWhatNeverEnds: an event without an end is not kept in memory.
func TestWhatNeverEnds(t *testing.T) {
	t.Parallel()
	const all = 64 << 20
	var sent atomic.Int64
	p := dockerd(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			io.WriteString(w, "[]")
			return
		}
		for sent.Load() < all {
			n, err := io.WriteString(w, strings.Repeat("a", 64<<10))
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	})
	err := p.follow(t.Context())
	if err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("it ended with %v", err)
	}
	if n := sent.Load(); n >= all {
		t.Errorf("%d bytes were read", n)
	}
}

// TestWhatIsWrong in an answer is said, the same whenever it is tried again.
func TestWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ events, networks, want string }{
		{`{"Type":5}`, "[]", "read dockerd's events: json"},
		{`{"Type":"netw`, "[]", "read dockerd's events: unexpected end"},
		{"", "[]", "read dockerd's events: EOF"},
		{"", `[1,2]`, "answer to /networks"},
		{"", strings.Repeat("[", 1<<20), "answer to /networks"},
	} {
		p := dockerd(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/events":
				io.WriteString(w, c.events)
			case "/networks":
				io.WriteString(w, c.networks)
			default:
				io.WriteString(w, "[]")
			}
		})
		if err := p.follow(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20s, %.20s: %v", c.events, c.networks, err)
		}
	}
	p := newPlugin()
	p.host = newHost(filepath.Join(t.TempDir(), "away"))
	if err := p.follow(t.Context()); err == nil || strings.Contains(err.Error(), "since") {
		t.Errorf("away: %v", err)
	}
}

// TestManyAtOnce: of containers that start at once each is asked about, and not
// over a connection each.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const containers = 100
	ctx, cancel := context.WithCancel(t.Context())
	var now, most, asked atomic.Int64
	full, asleep := make(chan struct{}), make(chan struct{})
	p := dockerd(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			for i := range containers {
				fmt.Fprintf(w, `{"Type":"network","Action":"connect","Actor":{"Attributes":{"container":"%d"}}}`+"\n", i)
			}
			http.NewResponseController(w).Flush()
			<-ctx.Done()
		case "/networks", "/containers/json":
			io.WriteString(w, "[]")
		default:
			if n := now.Add(1); n == maxConns-1 { // beside the events
				close(full)
			} else if n > most.Load() {
				most.Store(n)
			}
			<-asleep
			io.WriteString(w, "{}")
			now.Add(-1)
			if asked.Add(1) == containers {
				cancel()
			}
		}
	})
	p.log = slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- p.follow(ctx) }()
	<-full
	time.Sleep(200 * time.Millisecond) // for more than there are to come, which only a mistake does
	close(asleep)
	<-ended
	if n := asked.Load(); n != containers || most.Load() >= maxConns {
		t.Errorf("%d were asked about, up to %d at the same time", n, most.Load())
	}
}
