package main

import (
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/test/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"catenet": func() {
		now = func() time.Time { return apitest.Now.Add(5 * time.Minute) }
		main()
	}})
}

// TestScripts runs each verb against a daemon whose engine is in memory.
func TestScripts(t *testing.T) {
	commands := script.Commands()
	commands["hangup"] = func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("engine").(*apitest.Engine).HangUp() }
	commands["listening"] = listening
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
			env.Setenv("PID", "1")
			env.Values["engine"] = e
			return nil
		},
		Condition: script.Condition(false),
		Cmds:      commands,
	})
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
