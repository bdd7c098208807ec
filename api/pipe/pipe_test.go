package pipe

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// listen opens a socket in a folder whose path is short enough for one.
func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pipe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

func TestSend(t *testing.T) {
	l, path := listen(t)
	var got Call
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = Call{Path: r.URL.Path, Args: r.URL.Query()["arg"], Env: r.URL.Query()["env"], Stdin: body}
			w.Header().Set(ExitHeader, "3")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		}))
	}()
	call := Call{
		Path: "/v1/x", Args: []string{"setup", "/run/netns/a b", "", "ä&=?+%#"}, Env: []string{"CNI_ARGS=A=b;C=d\x01"},
		Stdin: []byte(strings.Repeat("{\"a\":\r\n\r\n\x00}", 100_000)),
	}
	for _, host := range []string{path, "unix://" + path} {
		a, err := Send(host, call)
		if err != nil || a.Exit != 3 || string(a.Stdout) != string(call.Stdin) {
			t.Fatalf("%d bytes, exit %d, %v", len(a.Stdout), a.Exit, err)
		}
		if got.Path != call.Path || !slices.Equal(got.Args, call.Args) || !slices.Equal(got.Env, call.Env) || string(got.Stdin) != string(call.Stdin) {
			t.Fatalf("arrived: %s %q %q, %d bytes", got.Path, got.Args, got.Env, len(got.Stdin))
		}
	}
}

func TestSendAway(t *testing.T) {
	l, path := listen(t)
	l.Close()
	for _, host := range []string{path, "/nowhere/s", strings.Repeat("x", 200)} {
		if _, err := Send(host, Call{Path: "/v1/x"}); !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestSendBroken(t *testing.T) {
	for answer, want := range map[string]string{
		"":                               "before it had answered",
		"HTTP/1.1 200 OK\r\nCatenet-Exi": "before it had answered",
		"HTTP/1.1 200 OK\r\nCatenet-Exit: 0\r\nContent-Length: 5\r\n\r\nfour":           "before it had answered",
		"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone":                       "404 Not Found none",
		"HTTP/1.1 200 OK\r\nCatenet-Exit: 256\r\nContent-Length: 0\r\n\r\n":             "did not take the call",
		"HTTP/1.1 200 OK\r\nCatenet-Exit: no\r\nContent-Length: 0\r\n\r\n":              "did not take the call",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCatenet-Exit: 1\r\n\r\nmore than that": "before it had answered",
	} {
		l, path := listen(t)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(c, answer)
		}()
		_, err := Send(path, Call{Path: "/v1/x"})
		if err == nil || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nCatenet-Exit: 1\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parse(b)
		if err == nil && (a.Exit < 0 || a.Exit > 255 || !strings.HasSuffix(string(b), "\r\n\r\n"+string(a.Stdout))) {
			t.Fatalf("%q is %+v", b, a)
		}
	})
}
