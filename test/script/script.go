// Package script has what the CLI's scripts (cmd/catenet/testdata) call beside
// testscript's own commands, for all who run them: on an engine in memory, and
// on the real daemon.
package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands are those that scripts call.
func Commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"code": code, "plain": plain, "until": until}
}

// Condition is testscript.Params.Condition with the one that scripts know:
// [real], true on the real daemon.
func Condition(real bool) func(string) (bool, error) {
	return func(cond string) (bool, error) {
		if cond != "real" {
			return false, fmt.Errorf("unknown condition %q", cond)
		}
		return real, nil
	}
}

// code runs a command that must exit with the code given first.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// plain runs catenet with the socket's path as its host.
func plain(ts *testscript.TestScript, neg bool, args []string) {
	path := strings.TrimPrefix(ts.Getenv("CATENET_HOST"), "unix://")
	if err := ts.Exec("catenet", append([]string{"-H", path}, args...)...); err != nil || neg {
		ts.Fatalf("%v", err)
	}
}

// until runs a command again and again until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until regexp command...")
	}
	re := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		cmd := exec.Command(lookPath(ts, args[1]), args[2:]...)
		cmd.Env = append(os.Environ(), "CATENET_HOST="+ts.Getenv("CATENET_HOST"))
		out, err := cmd.Output()
		if err == nil && re.Match(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v goes on saying %q, %v", args[1:], out, err)
		}
	}
}

// lookPath finds a command in the script's own PATH.
func lookPath(ts *testscript.TestScript, name string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name
		}
	}
	ts.Fatalf("no command %s", name)
	return ""
}
