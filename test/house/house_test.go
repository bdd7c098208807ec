package house

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func tree(t *testing.T) []*File {
	t.Helper()
	files, err := Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f *File) bool { return f.Path == "doc.go" }) {
		t.Fatal("the tree that was read is not this module's")
	}
	return files
}

func TestHouse(t *testing.T) {
	files := tree(t)
	for _, r := range Rules {
		t.Run(r.Name, func(t *testing.T) {
			for _, f := range files {
				for _, bad := range r.Check(f) {
					t.Error(bad)
				}
			}
		})
	}
	t.Run("package docs", func(t *testing.T) {
		for _, bad := range Undocumented(files) {
			t.Error(bad)
		}
	})
}

// TestExceptionsAreNeeded: one whose file has gone, or needs it no more, goes.
func TestExceptionsAreNeeded(t *testing.T) {
	used := map[string]bool{}
	for _, f := range tree(t) {
		used[f.Path] = len(checkSyscall(f)) > 0
		for _, fn := range functions(f) {
			used[f.Path+": "+fn.Name.Name] = len(changesIn(f, fn)) > 0 && len(marks(fn, "Before")) == 0
		}
	}
	for _, path := range slices.Concat(slices.Collect(maps.Keys(syscallElsewhere)), slices.Collect(maps.Keys(doorless))) {
		if !used[path] {
			t.Errorf("%s is an exception and does not need to be", path)
		}
	}
}

// Each rule finds what it forbids, so that a green TestHouse means something.
func TestRulesBite(t *testing.T) {
	long := strings.Repeat("\t_ = 1\n", maxFunc)
	for _, tt := range []struct {
		rule, path, src, want string // want "" means that it is allowed
	}{
		{"arrows of imports", "internal/ipam/pool.go", `package ipam; import _ "github.com/catenet/catenet/internal/store"`, "an allocator is pure"},
		{"arrows of imports", "internal/ipam/pool.go", `package ipam; import _ "github.com/catenet/catenet"`, ""},
		{"arrows of imports", "internal/driver/bridge/up.go", `package bridge; import _ "github.com/catenet/catenet/internal/engine"`, "never calls the engine"},
		{"arrows of imports", "internal/driver/bridge/up.go", `package bridge; import _ "github.com/catenet/catenet/internal/driver/macvlan"`, "another driver"},
		{"arrows of imports", "cmd/catenet/run.go", `package main; import _ "github.com/catenet/catenet/internal/kernel"`, "a client like any other"},
		{"arrows of imports", "cmd/catenet/run.go", `package main; import _ "github.com/catenet/catenet/api/client"`, ""},
		{"arrows of imports", "api/client/client.go", `package client; import _ "github.com/catenet/catenet/internal/engine"`, "nothing that runs in the daemon"},
		{"arrows of imports", "internal/kernel/link/link.go", `package link; import _ "github.com/catenet/catenet/internal/engine"`, "does not know who asks"},
		{"arrows of imports", "internal/cellar/wine.go", `package cellar`, "no line of the map"},
		{"one kernel room", "internal/engine/create.go", `package engine; import _ "os/exec"`, "only the kernel room"},
		{"one kernel room", "internal/names/dns.go", `package names; import _ "golang.org/x/sys/unix"`, "only the kernel room"},
		{"one kernel room", "internal/kernel/link/link.go", `package link; import _ "github.com/vishvananda/netlink"`, ""},
		{"one kernel room", "internal/engine/create.go", `package engine; import "syscall"; var _ = syscall.ENOTEMPTY`, "only the kernel room"},
		{"one kernel room", "internal/engine/create.go", `package engine; import "syscall"; var _ syscall.Signal = syscall.SIGTERM`, ""},
		{"arrows of imports", "internal/kernel/nft/nft.go", `package nft; import _ "github.com/catenet/catenet/internal/firewall"`, "does not know who asks"},
		{"the root package stands on the standard library", "port.go", `package catenet; import _ "golang.org/x/sync/errgroup"`, "standard library alone"},
		{"no init", "internal/ipam/pool.go", "package ipam\nfunc init() {}", "wired in main"},
		{"no init", "internal/ipam/pool.go", "package ipam\ntype t int\nfunc (t) init() {}", ""},
		{"files are concepts or verbs", "internal/ipam/utils.go", "package ipam", "concept or a verb"},
		{"files are concepts or verbs", "internal/ipam/pool_helpers.go", "package ipam", "concept or a verb"},
		{"nothing is promised for later", "a/a.go", "package a\n// TO" + "DO: more", "do it"},
		{"no test is skipped", "a/a_test.go", "package a\nfunc x(t interface{Skip()}) { t.Skip() }", "proves nothing"},
		{"every door has its failpoint", "internal/a/a.go", `package a; func f() { os.Remove("x") }`, "func f changes the world by os.Remove"},
		{"every door has its failpoint", "internal/a/a.go", `package a; func f() { failpoint.Before("a.a"); os.Remove("x"); failpoint.After("a.a") }`, ""},
		{"every door has its failpoint", "internal/a/a.go", `package a; func f() { failpoint.Before("a.a"); failpoint.After("a.b") }`, "each door has both"},
		{"every door has its failpoint", "internal/store/a.go", `package store; func (s *S) f() { s.file.db.Update(nil) }`, "db.Update"},
		{"functions and files end", "a/a.go", "package a\nfunc f() {\n" + long + "}", "func f has 102 lines"},
		{"functions and files end", "a/a.go", "package a\n" + strings.Repeat("\n", maxFile), "501 lines"},
	} {
		f, err := Parse(tt.path, tt.src)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(Rules, func(r Rule) bool { return r.Name == tt.rule })
		got := strings.Join(Rules[i].Check(f), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s on %s: %q, want %q", tt.rule, tt.path, got, tt.want)
		}
	}
	bare, err := Parse("a/a.go", "package a")
	if err != nil {
		t.Fatal(err)
	}
	if len(Undocumented([]*File{bare})) != 1 {
		t.Error("a package without a doc went unseen")
	}
}
