package pipe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// saved lists the calls that are written down beside a socket.
func saved(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(Spool(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// each answers one connection after the other as it is told.
func each(l net.Listener, answers ...func(c net.Conn)) {
	go func() {
		for _, answer := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<16))
			answer(c)
			c.Close()
		}
	}()
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

const done = "HTTP/1.1 200 OK\r\nCatenet-Exit: 0\r\nContent-Length: 0\r\n\r\n"

func TestSendOrSave(t *testing.T) {
	call := Call{Path: "/v1/x", Stdin: []byte("{}")}
	for _, c := range []struct {
		name    string
		answers func(path string) []func(net.Conn)
		saved   int
		refused bool
	}{
		{"a daemon that answers", func(string) []func(net.Conn) { return []func(net.Conn){says(done)} }, 0, false},
		{"one that dies", func(string) []func(net.Conn) { return []func(net.Conn){says("HTTP/"), says("")} }, 1, false},
		{"one that is back", func(string) []func(net.Conn) { return []func(net.Conn){says(""), says(done)} }, 0, false},
		{"one that is back and has looked", func(path string) []func(net.Conn) {
			return []func(net.Conn){says(""), func(c net.Conn) {
				for _, name := range saved(t, path) {
					os.Remove(name)
				}
				says(done)(c)
			}}
		}, 0, false},
		{"one that refuses", func(string) []func(net.Conn) {
			return []func(net.Conn){says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")}
		}, 0, true},
	} {
		l, path := listen(t)
		each(l, c.answers(path)...)
		a, err := SendOrSave(path, call)
		if errors.Is(err, ErrRefused) != c.refused || (err != nil) != c.refused || a.Exit != 0 || len(saved(t, path)) != c.saved {
			t.Errorf("%s: %+v, %v, %d calls are written down, want %d", c.name, a, err, len(saved(t, path)), c.saved)
		}
		l.Close()
	}
}

// A daemon that is stopped has the call before it: it is asked once.
func TestSendOrSaveIsNotAnswered(t *testing.T) {
	l, path := listen(t)
	if _, err := send(path, Call{Path: "/v1/x"}, time.Millisecond); !errors.Is(err, errSlow) {
		t.Errorf("Send: %v", err)
	}
	if _, err := sendOrSave(path, Call{Path: "/v1/x"}, time.Millisecond); err != nil || len(saved(t, path)) != 1 {
		t.Errorf("SendOrSave: %v, %d calls are written down", err, len(saved(t, path)))
	}
	last, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	last.Close()
	for n := 0; ; n++ { // all were made, and closed
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		c.Close()
		if err == nil && len(b) == 0 {
			if n != 2 {
				t.Errorf("it was asked %d times", n)
			}
			return
		}
	}
}

// Before the first start of a daemon the folder of its socket is made as that
// would make it: others get by to the socket, and do not see the calls.
func TestSaveMakesFolders(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	if _, err := SendOrSave(filepath.Join(run, "s"), Call{Path: "/v1/x"}); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]os.FileMode{run: 0o711, filepath.Join(run, "calls"): 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", dir, info.Mode(), err, want)
		}
	}
}

// What cannot be written down is an error.
func TestSaveFails(t *testing.T) {
	_, path := listen(t)
	if err := os.WriteFile(Spool(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SendOrSave(filepath.Join(filepath.Dir(path), "nobody"), Call{Path: "/v1/x"}); err == nil {
		t.Error(fmt.Sprint("no error, and in place of the folder is ", saved(t, path)))
	}
}
