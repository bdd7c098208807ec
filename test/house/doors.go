package house

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// changes are the calls by which the daemon changes the world, and the rooms
// that they count in. What is called on a value is known by its name alone.
var changes = []struct {
	room  string
	calls []string
}{
	{"internal/...", []string{
		"os.Chmod", "os.Chown", "os.Create", "os.Mkdir", "os.MkdirAll", "os.OpenFile", "os.Remove", "os.RemoveAll", "os.Rename",
		"os.StartProcess", "os.Symlink", "os.Truncate", "os.WriteFile", "exec.Command", "exec.CommandContext",
		"unix.Bind", "unix.Kill", "unix.Mkdirat", "unix.Mount", "unix.MoveMount", "unix.PidfdSendSignal", "unix.Pwrite", "unix.Sendto", "unix.Unmount",
	}},
	{"internal/etcd/client", []string{".LeaseGrant", ".LeaseKeepAlive", ".Revoke", ".Commit"}},
	{"internal/kernel/bpf", []string{"ebpf.NewMapWithOptions", "link.AttachCgroup", ".Delete", ".Detach", ".Pin", ".Put", ".Unpin", ".Update"}},
	{"internal/kernel/flows", []string{".Execute"}},
	{"internal/kernel/netns", []string{"unix.IoctlIfreq"}}, // the link room only asks by it
	{"internal/kernel/nft", []string{".exchange"}},
	{"internal/kernel/tun", []string{"unix.IoctlSetInt"}},
	{"internal/names", []string{".Truncate", ".WriteAt"}},
	{"internal/store", []string{"bbolt.Open", "db.Update"}},
	{"api/server", []string{"os.Mkdir", "os.MkdirAll", "os.Remove", "net.ListenUnix"}},
	{"cmd/catenetd", []string{"os.Mkdir", "os.MkdirAll", "os.Remove", "os.RemoveAll"}},
}

// undoored are the rooms below internal that are no part of the daemon.
var undoored = []string{
	"internal/failpoint/...", "internal/driver/conformance/...", "internal/kernel/fake/...", "internal/kernel/kerneltest/...",
	"internal/kernel/process/shim/...", // another process, which a daemon's end does not cut short
}

// doorless are the functions that make such calls and need no door, and why.
var doorless = map[string]string{
	"internal/etcd/client/calls.go: renew":              "Grant, which calls it, has the door",
	"internal/flannel/env.go: WriteEnv":                 "it is replaced whole, and written again at each start",
	"internal/flannel/env.go: RemoveEnv":                "what is left of it is of no harm: it is the earlier subnets of who comes next",
	"internal/kernel/flows/flows.go: list":              "it reads",
	"internal/kernel/foreign/allow.go: run":             "who changes something by it has the door",
	"internal/kernel/handover/exec.go: Try":             "the program only reads its settings",
	"internal/kernel/link/conn.go: ask":                 "it sends what those hand it who only read, and run, which has the door",
	"internal/kernel/link/hear.go: hear":                "it listens",
	"internal/kernel/netns/netns.go: Open":              "it reads",
	"internal/kernel/nft/conn.go: probe":                "its transaction cannot succeed",
	"internal/kernel/nft/socket.go: setUp":              "a netlink socket ends with the daemon",
	"internal/kernel/process/exec.go: sink":             "it opens /dev/null",
	"internal/kernel/process/rundir/lock.go: Lock":      "who starts a container has the door",
	"internal/kernel/process/rundir/record.go: Clear":   "as Lock",
	"internal/kernel/process/rundir/record.go: replace": "as Lock, or it is the shim, which a daemon's end does not cut short",
	"internal/kernel/tun/device.go: offload":            "what it sets is of no use to others, and set again at each start",
	"internal/kernel/tun/socket.go: bindDatagram":       "a socket ends with the daemon",
	"internal/store/journal.go: rewrite":                "begin, which calls it, has the door",
}

// checkDoors finds what changes the world at no failpoint, where no test could
// kill the daemon, and doors that only open or only close.
func checkDoors(f *File) (bad []string) {
	for _, fn := range functions(f) {
		before, after := marks(fn, "Before"), marks(fn, "After")
		if !slices.Equal(before, after) {
			bad = append(bad, fmt.Sprintf("%sfunc %s: failpoint.Before %q, After %q: each door has both, once", at(f, fn), fn.Name.Name, before, after))
		}
		calls := changesIn(f, fn)
		if len(calls) > 0 && len(before) == 0 && doorless[f.Path+": "+fn.Name.Name] == "" {
			bad = append(bad, fmt.Sprintf("%sfunc %s changes the world by %s: put failpoint.Before and After around that, or say in doorless why not",
				at(f, fn), fn.Name.Name, strings.Join(calls, ", ")))
		}
	}
	return bad
}

// Doors returns the names of all failpoints, sorted.
func Doors(files []*File) (names []string) {
	for _, f := range files {
		for _, fn := range functions(f) {
			names = append(names, marks(fn, "Before")...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// functions returns those of the daemon; none of a file that is not its.
func functions(f *File) (fns []*ast.FuncDecl) {
	if f.Test || slices.ContainsFunc(undoored, func(room string) bool { return within(f.Room, room) }) {
		return nil
	}
	for _, d := range f.AST.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return fns
}

// changesIn returns the calls of a function that change the world.
func changesIn(f *File, fn *ast.FuncDecl) (calls []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		name := "." + sel.Sel.Name
		switch x := sel.X.(type) {
		case *ast.Ident:
			name = x.Name + name
		case *ast.SelectorExpr:
			name = x.Sel.Name + name
		}
		for _, c := range changes {
			is := func(call string) bool { return name == call || call[0] == '.' && strings.HasSuffix(name, call) }
			if within(f.Room, c.room) && slices.ContainsFunc(c.calls, is) && !slices.Contains(calls, name) {
				calls = append(calls, name)
			}
		}
		return true
	})
	return calls
}

// marks returns the names of the doors that a function marks by Before or
// After.
func marks(fn *ast.FuncDecl, by string) (names []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		sel, _ := call.Fun.(*ast.SelectorExpr)
		name, _ := call.Args[0].(*ast.BasicLit)
		if sel == nil || name == nil || sel.Sel.Name != by {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "failpoint" {
			if s, err := strconv.Unquote(name.Value); err == nil {
				names = append(names, s)
			}
		}
		return true
	})
	return names
}
