// Package fuzz runs every fuzz target of the tree for some seconds, as often as
// the tests run: those that are there are found, not listed.
package fuzz

import (
	"context"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/test/house"
)

// each is how long one target is fuzzed, and side how many at a time: with
// both of two processors busy, all take about a minute.
const (
	each = 1500 * time.Millisecond
	side = 2
)

// parsers are the rooms that read bytes from outside, and which.
var parsers = map[string]string{
	".":                              "ports and filters as people write them",
	"api":                            "frames of exec",
	"api/docker":                     "filters of Docker's API",
	"api/cni":                        "calls of the CNI plugin",
	"api/dockerplugin":               "calls of dockerd",
	"api/netavark":                   "calls of Podman's netavark",
	"api/pipe":                       "the daemon's answers to small programs",
	"api/server":                     "requests of both APIs",
	"cmd/catenet":                    "flags with a grammar of their own, and the states of OCI containers",
	"cmd/catenet/adopt":              "definitions of Docker's and podman's networks",
	"internal/config":                "the file of settings",
	"internal/flannel":               "a network's config, nodes' keys and records, subnet.env",
	"internal/kernel/flows":          "netlink: tracked connections",
	"internal/kernel/foreign":        "rules of legacy iptables",
	"internal/kernel/handover":       "what an earlier daemon handed over",
	"internal/kernel/link":           "netlink: links, addresses, routes, traffic control",
	"internal/kernel/nft":            "netlink: rulesets",
	"internal/kernel/proc":           "files of proc(5)",
	"internal/kernel/process":        "logs",
	"internal/kernel/process/rundir": "who runs a container, and how it ended",
	"internal/kernel/process/shim":   "specs, reports and entries of logs",
	"internal/kernel/wire":           "netlink: messages and attributes",
	"internal/names":                 "DNS messages and resolv.conf",
	"internal/transport":             "packets of this host and of others",
	"internal/store":                 "files of records and their journals",
}

// targets finds the fuzz targets of the tree, by folder.
func targets(t *testing.T) map[string][]string {
	t.Helper()
	files, err := house.Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, f := range files {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.Test && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				all[f.Room] = append(all[f.Room], fn.Name.Name)
			}
		}
	}
	return all
}

// TestEveryParserIsFuzzed: no room that reads bytes from outside is without a
// target, and none that has one is unknown here.
func TestEveryParserIsFuzzed(t *testing.T) {
	all := targets(t)
	for room, what := range parsers {
		if len(all[room]) == 0 {
			t.Errorf("%s reads %s, and has no fuzz target", room, what)
		}
	}
	for room := range all {
		if parsers[room] == "" {
			t.Errorf("%s has a fuzz target: say in parsers what it reads", room)
		}
	}
}

func TestFuzz(t *testing.T) {
	bin := t.TempDir()
	turns := make(chan struct{}, side)
	for room, names := range targets(t) {
		t.Run(room, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			program := filepath.Join(bin, strings.ReplaceAll(room, "/", "-")+".test")
			run(t, "../..", "go", "test", "-c", "-fuzz=.", "-o", program, "./"+room)
			for _, name := range names {
				run(t, filepath.Join("../..", room), program, "-test.run=^$", "-test.fuzz=^"+name+"$", fmt.Sprintf("-test.fuzztime=%v", each),
					"-test.parallel=1", "-test.fuzzminimizetime=1x", "-test.fuzzcachedir="+filepath.Join(bin, "cache"))
			}
		})
	}
}

// run runs a program that has to succeed.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	// At the end of its time, go test now and then takes that for a failure; a
	// real one has an input.
	if late := strings.Contains(string(out), "context deadline exceeded") && !strings.Contains(string(out), "Failing input"); err != nil && !late {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
