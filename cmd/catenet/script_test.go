package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/catenet/catenet/api/apitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"catenet": func() {
		now = func() time.Time { return apitest.Now.Add(5 * time.Minute) }
		main()
	}})
}

// TestScripts runs each verb against a daemon whose engine is in memory.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			e := apitest.New()
			host, _ := apitest.Serve(env.T().(testing.TB), e)
			env.Defer(e.Close)
			env.Setenv("CATENET_HOST", host)
			env.Values["engine"] = e
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      code,
			"hangup":    func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("engine").(*apitest.Engine).HangUp() },
			"listening": listening,
			"plain":     plain,
			"until":     until,
		},
	})
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

// listening waits until somebody reads events.
func listening(ts *testscript.TestScript, _ bool, _ []string) {
	e := ts.Value("engine").(*apitest.Engine)
	for deadline := time.Now().Add(10 * time.Second); e.Subscribers() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("nobody listens")
		}
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
