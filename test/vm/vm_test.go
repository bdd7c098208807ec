package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSecondKernel is where it says that it is, with the module asked for.
func TestSecondKernel(t *testing.T) {
	t.Parallel()
	if !Inside(t, Guest{Modules: []string{"dummy"}}) {
		return
	}
	t.Run("kernel", func(t *testing.T) {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			t.Fatal(err)
		}
		if r := unix.ByteSliceToString(u.Release[:]); !strings.HasPrefix(r, "6.1.") {
			t.Errorf("the kernel is %s", r)
		}
	})
	t.Run("module", func(t *testing.T) {
		if _, err := os.Stat("/sys/module/dummy"); err != nil {
			t.Error(err)
		}
	})
}

func TestResultsAreRead(t *testing.T) {
	results := parse("\x16=== RUN   TestA\n\x16=== RUN   TestA/one\n    a_test.go:1: said\nno end of line\x16--- FAIL: TestA/one (0.10s)\n" +
		"\x16=== NAME  \n\x16--- PASS: TestB (0.00s)\n\x16=== NAME  \nnobody's\n")
	want := []result{{name: "TestA"}, {"TestA/one", "FAIL", "0.10s", []string{"    a_test.go:1: said", "no end of line"}}, {name: "TestB", status: "PASS", took: "0.00s"}}
	if !slices.EqualFunc(results, want, func(a, b result) bool {
		return a.name == b.name && a.status == b.status && a.took == b.took && slices.Equal(a.output, b.output)
	}) {
		t.Errorf("got %+v", results)
	}
	got := strings.Join(problems(results, []string{"TestA", "TestB", "TestC"}), "; ")
	if got != "TestA began on the second kernel, and did not end; TestC did not run on the second kernel" {
		t.Errorf("problems: %s", got)
	}
}

// TestHungMachineIsEnded: one that is not off in time is an error, and gone.
func TestHungMachineIsEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := boot(t.Context(), dir, Guest{Within: 100 * time.Millisecond}, []string{"sleep", "600"})
	if err == nil || !strings.Contains(err.Error(), "was not off within 100ms") {
		t.Errorf("it ends with %v", err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if line, err := os.ReadFile(c); err == nil && strings.Contains(string(line), "path="+dir) {
			t.Errorf("the emulator is still there: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}
