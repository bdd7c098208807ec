package main

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgress tells once a second of what takes longer, and nothing of the
// rest.
func TestProgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	var log bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		p := &progress{log: slog.New(slog.NewTextHandler(&log, nil))}
		p.set("being quick", 0, 1)
		p.set("being quick", 1, 1)
		p.set("being slow", 0, 3)
		time.Sleep(1500 * time.Millisecond)
		p.set("being slow", 2, 3)
		p.set("being slow", 1, 3) // told late
		time.Sleep(time.Second)
		p.set("being slow", 3, 3)
		time.Sleep(time.Minute)
	})
	var told []string
	for b := make([]byte, 100); len(told) < 3; {
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, string(b[:n]))
	}
	if got := strings.Join(told, "|"); got != "STATUS=being slow: 0 of 3|STATUS=being slow: 2 of 3|STATUS=" {
		t.Errorf("the service manager was told %s", got)
	}
	if got := log.String(); strings.Contains(got, "quick") || strings.Count(got, "\n") != 3 || !strings.Contains(got, `msg="being slow" done=3 of=3`) {
		t.Errorf("the log says\n%s", got)
	}
}
