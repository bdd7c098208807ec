package shim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func FuzzEntry(f *testing.F) {
	for _, s := range []string{"", "plain\n", "\x00\x1f\x7f\"\\/<&>", "ä€😀", "ä€😀\xff\xc3", "\u2028\ufffd"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var l logFile
		now := time.Unix(1767225600, 5).UTC()
		l.add("stderr", b, now)
		var got Entry
		if err := json.Unmarshal(l.buf, &got); err != nil {
			t.Fatalf("%q: %v", l.buf, err)
		}
		if !bytes.Equal(got.Bytes(), b) || got.Stream != "stderr" || !got.Time.Equal(now) {
			t.Errorf("%q came back as %+v", b, got)
		}
	})
}

func TestCut(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		name string
		in   []string // as read
		want []string // entries, the last of them at the end
	}{
		{"lines", []string{"a\nb\n\n"}, []string{"a\n", "b\n", "\n"}},
		{"in pieces", []string{"a", "b\nc", "d\n"}, []string{"ab\n", "cd\n"}},
		{"no end", []string{"a\nb"}, []string{"a\n", "b"}},
		{"long", []string{long + "y\n"}, []string{long, "y\n"}},
		{"long in pieces", []string{"x" + long, "y\n"}, []string{long, "xy\n"}},
		{"just as long", []string{long[1:] + "\nz"}, []string{long[1:] + "\n", "z"}},
	} {
		path := filepath.Join(t.TempDir(), "log")
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) // end closes it
		if err != nil {
			t.Fatal(err)
		}
		s := &stream{name: "stdout", fd: fd, log: l}
		for _, b := range tt.in {
			s.cut([]byte(b))
		}
		s.end()
		got := entries(t, path)
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%s: %d entries, want %d: %.60q", tt.name, len(got), len(tt.want), got)
		}
	}
}

func entries(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		var e struct{ Log string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			e.Log = "torn"
		}
		all = append(all, e.Log)
	}
	return all
}

func TestLogRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("z", 9999) + "\n")
	const n = 2500 // 25 MB
	for range n {
		l.add("stdout", line, time.Now())
		l.flush()
	}
	now, old := entries(t, path), entries(t, path+RotatedSuffix)
	if len(now) == 0 || len(old) < maxLog/len(line)-20 || len(now)+len(old) > n {
		t.Errorf("%d entries, and %d before", len(now), len(old))
	}
	// It cannot be rotated: a folder is in the way.
	if err := os.Remove(path + RotatedSuffix); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(path+RotatedSuffix+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	before := len(now)
	for range n {
		l.add("stdout", line, time.Now())
		l.flush()
	}
	if got := len(entries(t, path)); got != before+n {
		t.Errorf("%d entries of %d", got, before+n)
	}
}

func TestLogAfterTornEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(`{"log":"ha`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.add("stdout", []byte("next\n"), time.Now())
	l.flush()
	if got := strings.Join(entries(t, path), "|"); got != "torn|next\n" {
		t.Errorf("%q", got)
	}
}
