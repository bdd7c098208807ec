package store

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The child writes until it is killed; these say where and what.
const (
	envChild = "CATENET_STORE_TEST_CHILD" // class
	envDirs  = "CATENET_STORE_TEST_DIRS"  // state:run
)

func TestMain(m *testing.M) {
	if c := os.Getenv(envChild); c != "" {
		class, _ := strconv.Atoi(c)
		state, run, _ := strings.Cut(os.Getenv(envDirs), ":")
		err := writeForever(Options{StateDir: state, RunDir: run, BootID: "boot-1", Log: slog.New(slog.DiscardHandler)}, Class(class))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever puts the same number into two records at a time, and then says
// it on standard output.
func writeForever(o Options, c Class) error {
	s, err := Open(o)
	if err != nil {
		return err
	}
	last, err := Load[item](s, c, "pair")
	if err != nil {
		return err
	}
	for n := last["a"].N + 1; ; n++ {
		err := s.Update(c, func(tx *Tx) error {
			for _, id := range []string{"a", "b"} {
				if err := tx.Put("pair", id, item{strings.Repeat("x", n%3000), n}); err != nil {
					return err
				}
			}
			return tx.Put("other", fmt.Sprint(n%50), item{strings.Repeat("y", n%2000), n})
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestSIGKILLLosesNothing kills a writer at random moments: what it said was
// written is there, and no update is half there.
func TestSIGKILLLosesNothing(t *testing.T) {
	t.Parallel()
	for class, name := range map[Class]string{Durable: "durable", Live: "live"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := folders(t)
			o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
			for range 15 {
				said := killAWriter(t, o, class)
				s, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Load[item](s, class, "pair")
				if err != nil {
					t.Fatal(err)
				}
				if a, b := got["a"].N, got["b"].N; a != b || a < said || a > said+1 {
					t.Fatalf("the last update said was %d, the records have %d and %d", said, a, b)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// killAWriter runs a writer for a while and returns the last number it said.
func killAWriter(t *testing.T, o Options, class Class) (said int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envChild+"="+strconv.Itoa(int(class)), envDirs+"="+o.StateDir+":"+o.RunDir)
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // cut in the middle by the kill
		}
		said = n
		if first {
			time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { child.Process.Kill() })
		}
	}
	if err := child.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	if said == 0 {
		t.Fatal("the writer said nothing")
	}
	return said
}
