package house

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// kernelRoom lists what only the kernel room may import, because an errno is
// translated, and what is ours marked, at one door.
var kernelRoom = []string{
	"github.com/vishvananda/netlink/...", "github.com/vishvananda/netns/...",
	"github.com/mdlayher/netlink/...", "github.com/mdlayher/socket/...",
	"github.com/cilium/ebpf/...", "golang.org/x/sys/...", "os/exec",
}

// syscallElsewhere are the files outside of the kernel room that use package
// syscall for more than the names of signals, and why.
var syscallElsewhere = map[string]string{
	"api/server/listen.go":       "a socket that refuses is a stale one",
	"api/client/client.go":       "a socket that refuses means that no daemon runs",
	"api/client/conn.go":         "net has no way to peek whether an idle connection is still open",
	"api/pipe/pipe.go":           "net takes a small program longer to get going than the request takes",
	"cmd/catenet/alone.go":       "a lock that goes with who has it, also by a SIGKILL",
	"disk.go":                    "tells people what ails the disk",
	"internal/names/hostconf.go": "the time of change tells a file that was replaced",
	"internal/names/udp.go":      "net has no word for waiting until there is a datagram",
	"internal/store/file.go":     "tells a bad file from a bad disk",
	"internal/store/trouble.go":  "tells who holds the lock",
}

// atTheKernel lists who may: the room itself, and those whose work is to look
// at it from outside.
var atTheKernel = []string{
	"internal/kernel/...",
	"test/...",    // makes whole hosts with ip(8)
	"bench/...",   // the floor is kernel messages, the peers are programs
	"api/apitest", // a twin of an engine for tests: it runs what it is told to run
}

// Arrow says what a room may import of this module, and why no more.
type Arrow struct {
	Room string
	May  []string
	Why  string
}

// Arrows is the map of the house. A room is held to the first line that fits
// it; one that fits none is an error, so that a new room is thought about.
var Arrows = []Arrow{
	{".", nil, "the vocabulary is passive data on the standard library: everybody speaks it, it knows nobody"},

	{"internal/failpoint", nil, "it is empty in every build but that of test/crash, and marks doors in every room"},
	{"internal/ipam/...", []string{"."}, "an allocator is pure: it is tested without a kernel and a disk"},
	{"internal/store/...", []string{"."}, "records know nothing of who writes them"},
	{"internal/names/...", []string{".", "internal/kernel", "internal/names/..."}, "the resolver is handed its sockets and records; it asks nobody"},
	{"internal/firewall/...", []string{".", "internal/kernel", "internal/kernel/nft", "internal/kernel/foreign", "internal/firewall/..."}, "the firewall renders intents as nft data, and hands them to what commits"},

	{"internal/etcd/...", []string{".", "internal/etcd"}, "a store knows keys and values, not what they are about"},
	{"internal/flannel/...", []string{".", "internal/etcd"}, "a registry is kept by a store's contract: no kernel, no engine, and no client either"},

	{"internal/driver/conformance/...", []string{".", "internal/driver", "internal/kernel/...", "internal/firewall"}, "the suite knows the contract and no driver"},
	{"internal/driver/flannel", []string{".", "internal/driver", "internal/firewall", "internal/kernel", "internal/flannel", "internal/etcd", "internal/transport"}, "a network across hosts is made of a registry, tunnels and the host's own part, each by its contract"},
	{"internal/driver/...", []string{".", "internal/driver", "internal/firewall", "internal/kernel"}, "a driver is a translator: data in, data out; it never calls the engine, the store or another driver"},

	{"internal/kernel/kerneltest/...", nil, "namespaces for tests, for whoever needs them"},
	{"internal/kernel/...", []string{".", "internal/kernel/...", "test/vm"}, "the kernel room obeys: it does not know who asks; its tests boot kernels that lack something"},

	{"internal/engine/...", []string{".", "internal/ipam/...", "internal/store/...", "internal/names/...", "internal/firewall/...", "internal/driver", "internal/kernel", "internal/engine/..."}, "the engine knows contracts, not drivers and not who calls it"},

	{"internal/transport/...", []string{".", "internal/kernel", "test/vm"}, "a transport stands between two contracts of the kernel's; where its peers come from it does not know; its tests boot a kernel that lacks offloads"},

	{"internal/config/...", []string{"."}, "settings are words; what they lead to is wired in main"},

	{"api/pipe", nil, "it is in programs that are started once a container: each import makes that later"},
	{"api/notify", nil, "it is about the service manager, whoever tells it"},
	{"api/cni/version", nil, "it is in a program that is started for every call"},
	{"api/cni/...", []string{".", "api/cni/version", "api/pipe"}, "a front is a translation: bytes in, an engine's verbs, bytes out; which verbs it states itself"},
	{"api/docker/...", []string{".", "api"}, "a translation is pure: the CLI shows Docker's JSON by it, the server answers by it"},
	{"api/dockerplugin", []string{"."}, "a guest's protocol is translated into an engine's verbs, whose contract it states itself"},
	{"api/apitest/...", []string{".", "api/..."}, "the engine's twin for tests serves the API and nothing else"},
	{"api/netavark/...", []string{".", "api/pipe"}, "a front is a translation: a program's call in, an engine's verbs, what the program prints out"},
	{"api/server/...", []string{".", "api/...", "internal/kernel/peercred"}, "the server translates HTTP into an engine's verbs, whose contract it states itself"},
	{"api/...", []string{".", "api"}, "a client needs the wire types and nothing that runs in the daemon"},

	{"cmd/catenet", []string{".", "api/...", "cmd/catenet/...", "packaging/man"}, "the CLI is a client like any other: what it can do, others can"},
	{"cmd/catenet/adopt", []string{".", "api/docker", "api/netavark"}, "what others define is read and translated; who makes it is the verb's affair"},
	{"cmd/catenet-netavark", []string{"api/pipe"}, "it is started once for each container: it hands its call on, and knows nothing"},
	{"cmd/catenet-shim/...", []string{".", "internal/kernel", "internal/kernel/process/..."}, "one shim runs for each container: it stays small"},
	{"cmd/catenet-cni/...", []string{"api/cni/version", "api/pipe"}, "it is started for every call of a runtime: all meaning is in the daemon"},
	{"cmd/catenetd/...", []string{"./..."}, "only the daemon's main wires"},

	{"packaging/man", nil, "who writes pages of the manual is told what is on them"},
	{"packaging/daemonman", []string{".", "internal/config", "packaging/man"}, "the daemon's pages are about its settings"},

	{"test/house/...", nil, "the rules stand apart from what they judge"},
	{"test/flanneld", []string{".", "test/...", "internal/flannel", "internal/etcd/...", "internal/kernel/kerneltest"}, "what our nodes write is held against what flanneld's do, in one etcd"},
	{"test/...", []string{".", "api/...", "test/...", "internal/kernel/kerneltest"}, "end-to-end tests see what a user sees"},
	{"bench/forward", []string{"internal/kernel", "internal/kernel/link", "internal/kernel/tun", "internal/transport"}, "a node of the benchmark is the transport without a daemon around it"},
	{"bench/...", []string{".", "api/...", "internal/kernel", "internal/kernel/netns", "internal/kernel/link", "internal/driver", "bench/..."}, "the bench measures from outside, save what a thousand peers cost; its namespaces are made as ours are"},
}

// Rule is one rule of the house: what it says, and who breaks it how.
type Rule struct {
	Name  string
	Check func(f *File) []string
}

// Rules are those that one file at a time can break.
var Rules = []Rule{
	{"arrows of imports", checkArrows},
	{"one kernel room", checkKernelRoom},
	{"the root package stands on the standard library", checkRoot},
	{"no init", checkInit},
	{"files are concepts or verbs", checkFileName},
	{"nothing is promised for later", checkPromises},
	{"no test is skipped", checkSkip},
	{"functions and files end", checkLength},
	{"every door has its failpoint", checkDoors},
}

func checkArrows(f *File) []string {
	i := slices.IndexFunc(Arrows, func(a Arrow) bool { return within(f.Room, a.Room) })
	if i < 0 {
		return []string{fmt.Sprintf("%s: no line of the map of imports fits %s: add one, with its reason", f.Path, f.Room)}
	}
	arrow := Arrows[i]
	var bad []string
	for _, imp := range f.Imports {
		ours := imp == "." || !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && isLocal(imp)
		if !ours || imp == f.Room || imp == "internal/failpoint" || f.Test && testMayImport(f, imp) {
			continue
		}
		if !slices.ContainsFunc(arrow.May, func(p string) bool { return p == "./..." || within(imp, p) }) {
			bad = append(bad, fmt.Sprintf("%s imports %s, but %s", f.Path, imp, arrow.Why))
		}
	}
	return bad
}

// testMayImport: tests of a room may use its neighbours in the kernel room
// (fakes, real namespaces), the conformance suite, what measures parsers, an etcd,
// real or in memory, and what is below it; those of a driver the bridge driver, which
// others are made of.
func testMayImport(f *File, imp string) bool {
	return within(imp, "internal/kernel/...") || imp == "internal/driver/conformance" || imp == "test/bounds" || imp == "test/etcdserver" || within(imp, "internal/etcd/...") ||
		within(imp, f.Room+"/...") || within(f.Room, "internal/engine/...") ||
		within(f.Room, "internal/driver/...") && imp == "internal/driver/bridge" ||
		within(f.Room, "api/...") || within(f.Room, "cmd/...")
}

// isLocal tells this module's folders from the standard library's.
func isLocal(imp string) bool {
	switch strings.SplitN(imp, "/", 2)[0] {
	case "internal", "api", "cmd", "test", "bench", "packaging":
		return true
	}
	return false
}

func checkKernelRoom(f *File) []string {
	if f.Test || slices.ContainsFunc(atTheKernel, func(p string) bool { return within(f.Room, p) }) {
		return nil
	}
	var bad []string
	for _, imp := range f.Imports {
		if slices.ContainsFunc(kernelRoom, func(p string) bool { return within(imp, p) }) {
			bad = append(bad, fmt.Sprintf("%s imports %s, but only the kernel room touches the kernel or runs a command", f.Path, imp))
		}
	}
	if syscallElsewhere[f.Path] == "" {
		bad = append(bad, checkSyscall(f)...)
	}
	return bad
}

// checkSyscall finds what is used of package syscall beside signals.
func checkSyscall(f *File) (bad []string) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "syscall" && sel.Sel.Name != "Signal" && !strings.HasPrefix(sel.Sel.Name, "SIG") {
			bad = append(bad, at(f, sel)+"syscall."+sel.Sel.Name+": only the kernel room touches the kernel")
		}
		return true
	})
	return bad
}

func checkRoot(f *File) []string {
	if f.Room != "." || f.Test {
		return nil
	}
	var bad []string
	for _, imp := range f.Imports {
		if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
			bad = append(bad, fmt.Sprintf("%s imports %s, but the vocabulary stands on the standard library alone", f.Path, imp))
		}
	}
	return bad
}

func checkInit(f *File) []string {
	var bad []string
	for _, d := range f.AST.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			bad = append(bad, at(f, fn)+"func init: what is wired is wired in main, in the open")
		}
	}
	return bad
}

var vagueName = regexp.MustCompile(`^(.*_)?(utils?|types|common|helpers?|misc)(_test)?\.go$`)

func checkFileName(f *File) []string {
	if vagueName.MatchString(path.Base(f.Path)) {
		return []string{f.Path + ": a file is named for a concept or a verb"}
	}
	return nil
}

var promise = regexp.MustCompile(`\b(` + "TO" + `DO|` + "FIX" + `ME|XX` + `X)\b`)

func checkPromises(f *File) []string {
	var bad []string
	for _, group := range f.AST.Comments {
		for _, c := range group.List {
			if m := promise.FindString(c.Text); m != "" {
				bad = append(bad, at(f, c)+m+": do it, or say aloud in the papers that it is not done")
			}
		}
	}
	return bad
}

func checkSkip(f *File) []string {
	if !f.Test && !within(f.Room, "test/...") {
		return nil
	}
	var bad []string
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
			bad = append(bad, at(f, sel)+"a skipped test proves nothing")
		}
		return true
	})
	return bad
}

// The longest that a file and a function may get, in lines. Style asks for
// less (200 and 50); this is where a second look becomes a must.
const (
	maxFile = 500
	maxFunc = 100
)

func checkLength(f *File) []string {
	if f.Test {
		return nil
	}
	var bad []string
	if f.Lines > maxFile {
		bad = append(bad, fmt.Sprintf("%s has %d lines, the most is %d", f.Path, f.Lines, maxFile))
	}
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := f.Fset.Position(fn.End()).Line - f.Fset.Position(fn.Pos()).Line + 1
		if lines > maxFunc {
			bad = append(bad, fmt.Sprintf("%sfunc %s has %d lines, the most is %d", at(f, fn), fn.Name.Name, lines, maxFunc))
		}
	}
	return bad
}

// at is the place of a node as compilers write it, with ": " behind it.
func at(f *File, n ast.Node) string {
	return f.Fset.Position(n.Pos()).String() + ": "
}

// Undocumented returns the packages that no file documents.
func Undocumented(files []*File) []string {
	doc := map[string]bool{}
	for _, f := range files {
		key := f.Room + " (package " + strings.TrimSuffix(f.AST.Name.Name, "_test") + ")"
		doc[key] = doc[key] || f.AST.Doc != nil
	}
	var bad []string
	for key, ok := range doc {
		if !ok {
			bad = append(bad, key+" says nowhere what it is: give it a package doc")
		}
	}
	slices.Sort(bad)
	return bad
}
