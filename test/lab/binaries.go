package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var build struct {
	once  sync.Once
	tags  string // as Main was told, comma-separated
	dir   string
	ready bool // by CATENET_BIN
	err   error
}

// Binaries returns the folder of the programs, built from this tree
// the first time that somebody asks. CATENET_BIN names a folder of ready
// ones instead, which have no build tags.
func Binaries(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if dir := os.Getenv("CATENET_BIN"); dir != "" && build.tags == "" {
			build.dir, build.ready = dir, true
			return
		}
		if build.dir, build.err = os.MkdirTemp("/tmp", "cn-bin-"); build.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-tags", build.tags, "-o", build.dir+"/",
			"github.com/catenet/catenet/cmd/catenet",
			"github.com/catenet/catenet/cmd/catenetd",
			"github.com/catenet/catenet/cmd/catenet-shim",
			"github.com/catenet/catenet/cmd/catenet-cni",
			"github.com/catenet/catenet/cmd/catenet-netavark")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("build the programs: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.dir
}

// Main is the TestMain of a package that uses labs: it runs the tests on
// programs built with the tags, removes those, and fails if the machine itself
// has something of ours that it had not before.
func Main(m *testing.M, tags ...string) {
	build.tags = strings.Join(tags, ",")
	before := machine()
	code := m.Run()
	if build.dir != "" && !build.ready {
		if err := os.RemoveAll(build.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	for thing := range machine() {
		if !before[thing] {
			fmt.Fprintln(os.Stderr, "left on the machine:", thing)
			code = 1
		}
	}
	os.Exit(code)
}

// machine lists what of ours the machine's own namespace and file systems
// show.
func machine() map[string]bool {
	seen := map[string]bool{}
	for _, pattern := range []string{"/sys/class/net/br-*", "/sys/class/net/ctn*", "/tmp/cn-c" + fmt.Sprint(os.Getpid()) + "-*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			seen[err.Error()] = true
		}
		for _, n := range names {
			seen[n] = true
		}
	}
	return seen
}
