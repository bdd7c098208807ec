package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// right is ours.
const right = `#!/bin/sh
exec "$REAL/catenet" "$@"
`

// wrong is a catenet under which one check of the demo does not hold. It is an
// early one: containers, which take their time to end, are not there yet.
const wrong = `#!/bin/sh
case "$*" in "network ls") exit 0 ;; esac
exec "$REAL/catenet" "$@"
`

// interrupting is a catenet under which somebody presses Ctrl-C while containers run.
const interrupting = `#!/bin/sh
case "$*" in ps) kill -INT "-$(pgrep -oxf 'bash ../../demo/demo.sh')" ;; esac
exec "$REAL/catenet" "$@"
`

// private runs the demo where it sees mounts and processes of its own alone,
// so that it meets no other one, and tells what it left there.
const private = `
mount -t tmpfs none /run && mount -t tmpfs none /var/lib || exit 99
unset KEEP
setsid --wait ../../demo/demo.sh; code=$?
echo left: $(find /run/netns /run/catenet* /var/lib 2>/dev/null) $(ps -e -o comm=)
exit $code`

// demo runs the demo under a catenet of the test's, and wants nothing to be left.
func demo(t *testing.T, catenet string) (out string, code int) {
	t.Helper()
	real, bin := lab.Binaries(t), t.TempDir()
	for _, name := range []string{"catenetd", "catenet-shim"} {
		if err := os.Symlink(filepath.Join(real, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "catenet"), []byte(catenet), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", private)
	cmd.Env = append(os.Environ(), "CATENET_BIN="+bin, "REAL="+real)
	text, _ := cmd.CombinedOutput() // its exit code is looked at
	if !strings.HasSuffix(string(text), "left: /run/netns /var/lib bash ps\n") {
		t.Errorf("something is left:\n%s", text)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestTheDemo holds from its first step to its last, and removes everything.
func TestTheDemo(t *testing.T) {
	t.Parallel()
	out, code := demo(t, right)
	if code != 0 || !strings.Contains(out, "nothing is the matter with the network") || !strings.Contains(out, "steps hold") {
		t.Errorf("the demo ends with %d:\n%s", code, out)
	}
}

// TestADemoThatFailsSaysSo and removes everything.
func TestADemoThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	out, code := demo(t, wrong)
	if code != 1 || !strings.Contains(out, "✗ no line matches 'front .*bridge'; expected: both are listed\n") {
		t.Errorf("the demo ends with %d:\n%s", code, out)
	}
	if strings.Contains(out, "stranger") {
		t.Errorf("the demo goes on past a step that failed:\n%s", out)
	}
}

// TestADemoThatIsInterrupted removes everything.
func TestADemoThatIsInterrupted(t *testing.T) {
	t.Parallel()
	out, code := demo(t, interrupting)
	if code != 130 || !strings.Contains(out, "--name stranger") || strings.Contains(out, "hello from db") {
		t.Errorf("the demo ends with %d:\n%s", code, out)
	}
}

// TestChecksOfTheDemo are each passed, and failed: the demo ends there then.
func TestChecksOfTheDemo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ check, result, goesOn string }{
		{"ok it", "status=0", "yes"},
		{"ok it", "status=1", ""},
		{"prints right it", "status=0 said=right", "yes"},
		{"prints right it", "status=0 said=wrong", ""},
		{"prints right it", "status=1 said=right", ""},
		{"fails reason it", "status=1 said=reason", "yes"},
		{"fails reason it", "status=1 said=another", ""},
		{"fails reason it", "status=0 said=reason", ""},
		{"lacks wrong it", "said=right", "yes"},
		{"lacks wrong it", "said=wrong", ""},
		{"gone no-process it", "true", "yes"},
		{"gone $$ it", "true", ""},
	} {
		out, err := exec.Command("bash", "-c", "here=../../demo; . $here/stage.sh; "+c.result+"; "+c.check+" >/dev/null; echo yes").Output()
		if got := strings.TrimSpace(string(out)); got != c.goesOn || (err == nil) != (c.goesOn == "yes") {
			t.Errorf("%s, where %s: goes on %q, %v", c.check, c.result, got, err)
		}
	}
}
