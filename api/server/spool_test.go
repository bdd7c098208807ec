package server_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/cni"
	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/api/server"
)

// cniCall is a call of the CNI plugin for the container c1.
func cniCall(command string) pipe.Call {
	return pipe.Call{
		Path: cni.Path, Stdin: []byte(`{"cniVersion":"1.1.0","name":"pods","type":"catenet"}`),
		Env: []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0"},
	}
}

func save(t *testing.T, dir string, c pipe.Call) {
	t.Helper()
	if _, err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
}

// left lists what a spool has.
func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A DEL that nobody answered is over before what is asked next, so that it does
// not undo that at the next start.
func TestCallsWrittenDownComeFirst(t *testing.T) {
	host, c := apitest.Serve(t, apitest.New())
	dir := pipe.Spool(host)
	for range 2 {
		if a, err := pipe.Send(host, cniCall("ADD")); err != nil || a.Exit != 0 {
			t.Fatalf("%s, %v", a.Stdout, err)
		}
		if _, err := c.Sandbox(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
		save(t, dir, cniCall("DEL"))
	}
	if a, err := pipe.Send(host, cniCall("STATUS")); err != nil || a.Exit != 0 {
		t.Fatalf("%s, %v", a.Stdout, err)
	}
	if sb, err := c.Sandbox(t.Context(), "c1"); err == nil || len(left(t, dir)) > 0 {
		t.Errorf("there is %+v, and written down %q", sb.Sandbox, left(t, dir))
	}
}

// Whatever is in the folder, the rest is carried out: what cannot be read goes,
// what failed is kept, and what is still being written is left alone.
func TestCatchUp(t *testing.T) {
	dir := t.TempDir()
	e := apitest.New()
	if a := cni.New(e).Answer(t.Context(), cniCall("ADD")); a.Exit != 0 {
		t.Fatalf("%s", a.Stdout)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("0.call", "")
	write("1.call", "POST /v1/cni HTTP/1.1\r\nContent-Length: 7\r\n\r\n{")
	write("2.call", "POST /v9/other HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
	write("3.call", strings.Repeat("\x00\xff", 5000))
	write("4.part", "POST ")
	if err := os.Chtimes(write("5.part", "POST "), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "6.call", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	fails := cniCall("DEL")
	fails.Env = fails.Env[:1]
	save(t, dir, fails)
	for range 100 {
		save(t, dir, cniCall("DEL"))
	}
	err := server.CatchUp(t.Context(), e, dir, slog.New(slog.NewTextHandler(io.Discard, nil)))
	for _, words := range []string{"0.call", "1.call", "/v9/other", "3.call", "CNI_CONTAINERID is not set"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("nothing is said of %s: %v", words, err)
		}
	}
	if all, err := e.Sandboxes(t.Context(), true); err != nil || len(all) > 0 {
		t.Errorf("there is %+v, %v", all, err)
	}
	if names := left(t, dir); len(names) != 3 || !slices.Contains(names, "4.part") || !slices.Contains(names, "6.call") {
		t.Errorf("left is %q", names)
	}
}
