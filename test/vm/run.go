package vm

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mark is set in the environment of tests that run inside.
const mark = "CATENET_VM"

// Guest says what tests need of the machine.
type Guest struct {
	// Modules are loaded before the tests start. What the kernel loads by
	// itself when somebody asks for it need not be named.
	Modules []string
	// Boot are more words of the kernel's command line.
	Boot []string
	// Env is added to the environment of the tests, as "NAME=value". Files
	// of this machine are named by Path.
	Env []string
	// Within is how long boot and tests may take; 0 is four minutes.
	Within time.Duration
}

// Path is where the machine inside finds a file of this one.
func Path(p string) string { return hostDir + p }

// Inside reports whether the test runs on the second kernel. Elsewhere it
// runs it there, whole, and reports how that ended; the caller has nothing
// more to do then. It is called first thing, by a test and not by a subtest.
func Inside(t *testing.T, g Guest) bool {
	t.Helper()
	if os.Getenv(mark) != "" {
		return true
	}
	Run(t, g, t.Name())
	return false
}

// Run boots the second kernel and runs tests of this binary there, by their
// names. Each, and each subtest of it, is a subtest of t; Run fails if one of
// them did not run to its end.
func Run(t *testing.T, g Guest, tests ...string) {
	t.Helper()
	if os.Getenv(mark) != "" {
		t.Fatal("there is no third kernel: this runs inside already")
	}
	if len(tests) == 0 {
		t.Fatal("no test is named")
	}
	if g.Within == 0 {
		g.Within = 4 * time.Minute
	}
	dir := t.TempDir()
	begin := time.Now()
	end, err := boot(t.Context(), dir, g, testProgram(t, tests))
	results := parse(end.output)
	t.Logf("%d results of the second kernel in %s", len(results), time.Since(begin).Round(time.Millisecond))
	for _, problem := range problems(results, tests) {
		t.Error(problem)
	}
	report(t, results)
	switch {
	case err != nil:
		t.Errorf("%v\nconsole:\n%s", err, tail(end.console))
	case end.status != "0":
		t.Errorf("the tests ended with status %s:\n%s", end.status, tail(end.output))
	}
}

// testProgram is the command line inside: this test binary, for these tests.
// One after the other: the machine is slow, and they have to be in time.
func testProgram(t *testing.T, tests []string) []string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range tests {
		names = append(names, regexp.QuoteMeta(n))
	}
	return []string{Path(exe), "-test.v=test2json", "-test.count=1", "-test.parallel=1", "-test.run=^(" + strings.Join(names, "|") + ")$"}
}

// problems says what of the tests asked for did not run, or not to its end.
func problems(results []result, tests []string) (out []string) {
	ended := map[string]string{}
	for _, r := range results {
		ended[r.name] = r.status
		if r.status == "" {
			out = append(out, r.name+" began on the second kernel, and did not end")
		}
	}
	for _, n := range tests {
		if _, ok := ended[n]; !ok {
			out = append(out, n+" did not run on the second kernel")
		}
	}
	return out
}

// report gives every test inside a subtest of its name outside; what Inside
// was called by is t itself.
func report(t *testing.T, results []result) {
	for _, r := range results {
		if r.name == t.Name() {
			tell(t, r)
			continue
		}
		t.Run(strings.TrimPrefix(r.name, t.Name()+"/"), func(t *testing.T) { tell(t, r) })
	}
}

func tell(t *testing.T, r result) {
	t.Helper()
	if r.status != "PASS" {
		t.Fail()
	}
	t.Logf("inside: %s (%s)\n%s", r.status, r.took, strings.Join(r.output, "\n"))
}

// tail is the end of what was printed, for messages.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
