package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/process"
)

func read(t *testing.T, path string, o catenet.LogOptions) string {
	t.Helper()
	var b strings.Builder
	err := process.Logs(t.Context(), path, o, nil, func(_ string, _ time.Time, line []byte) error {
		b.Write(line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLogsOfARun(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.sh(`printf 'a "quoted" \\ \001\t line\n\377\303\244 half'; dd if=/dev/zero bs=20000 count=1 2>/dev/null | tr '\0' y >&2`)
	l.run(c)
	if got := l.log(c, "stdout"); got != "a \"quoted\" \\ \x01\t line\n\xffä half" {
		t.Errorf("%q", got)
	}
	if got := l.log(c, "stderr"); got != strings.Repeat("y", 20000) {
		t.Errorf("%d bytes", len(got))
	}
	raw, err := os.ReadFile(c.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(raw), `{"log":"a \"quoted\" \\ \u0001\u0009 line\n","stream":"stdout","time":"2`) {
		t.Errorf("on disk: %.100s", raw)
	}
}

func TestLogsTailAndSince(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	entry := func(i int) string {
		return fmt.Sprintf(`{"log":"%d\n","stream":"stdout","time":"2026-01-01T00:00:%02dZ"}`+"\n", i, i)
	}
	path := l.file("log", entry(4)+entry(5)+"torn by a full disk\n"+entry(6)+`{"log":"half`)
	l.file("log.1", entry(1)+entry(2)+entry(3))
	for _, tt := range []struct {
		o    catenet.LogOptions
		want string
	}{
		{catenet.LogOptions{Tail: -1}, "1\n2\n3\n4\n5\n6\n"},
		{catenet.LogOptions{Tail: 1}, "6\n"},
		{catenet.LogOptions{Tail: 6}, "2\n3\n4\n5\n6\n"}, // what is torn counts
		{catenet.LogOptions{Tail: 100}, "1\n2\n3\n4\n5\n6\n"},
		{catenet.LogOptions{}, ""},
		{catenet.LogOptions{Tail: -1, Since: time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC)}, "3\n4\n5\n6\n"},
	} {
		if got := read(t, path, tt.o); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.o, got, tt.want)
		}
	}
	err := process.Logs(t.Context(), path+"no", catenet.LogOptions{Tail: -1}, nil, nil)
	if !catenet.IsNotFound(err) {
		t.Errorf("a log that is not there: %v", err)
	}
	stop := errors.New("enough")
	err = process.Logs(t.Context(), path, catenet.LogOptions{Tail: -1}, nil, func(string, time.Time, []byte) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestLogsFollowedThroughRotations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// 120,000 entries of 170 bytes: 20 MB on disk, rotated once or twice.
	go1 := l.dir + "/go"
	c := l.sh(`echo ready; while [ ! -e ` + go1 + ` ]; do sleep 0.01; done; awk 'BEGIN { for (i = 0; i < 120000; i++) printf "%06d %0100d\n", i, 0 }'`)
	l.start(c)
	l.ready(c)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Wait(context.Background(), c.Dir)
	}()
	next := -1
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := process.Logs(ctx, c.Log, catenet.LogOptions{Follow: true, Tail: -1}, ended, func(_ string, _ time.Time, line []byte) error {
		if next < 0 {
			if err := os.WriteFile(go1, nil, 0o600); err != nil {
				return err
			}
		} else if !strings.HasPrefix(string(line), fmt.Sprintf("%06d ", next)) {
			return fmt.Errorf("entry %d is %.20q", next, line)
		}
		next++
		return nil
	})
	if err != nil || next != 120000 {
		t.Fatalf("%d entries: %v", next, err)
	}
	for _, path := range []string{c.Log, c.Log + ".1"} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() > 11<<20 {
			t.Errorf("%s has %d bytes", path, st.Size())
		}
	}
}

func TestLogsGivenUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	path := l.file("log", "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := process.Logs(ctx, path, catenet.LogOptions{Follow: true, Tail: -1}, nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
