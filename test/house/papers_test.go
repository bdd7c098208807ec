package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each direct dependency has its line and its reason in the paper, and no
// other module has one.
func TestDependenciesAreExplained(t *testing.T) {
	var want, got []string
	for line := range strings.Lines(read(t, "../../go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			want = append(want, fields[0])
		}
	}
	row := regexp.MustCompile(`(?m)^\| ([a-z]\S*\.\S+) \| .{10,} \|.*\|$`)
	for _, m := range row.FindAllStringSubmatch(read(t, "../../docs/decisions/dependencies.md"), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Errorf("docs/decisions/dependencies.md explains\n%s\nand go.mod requires\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What the papers point to is there, also where they point to a heading.
func TestLinksOfPapers(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]+)(#[^)]+)?\)`)
	var papers []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		papers = append(papers, found...)
	}
	for _, paper := range papers {
		for _, m := range link.FindAllStringSubmatch(read(t, paper), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(paper), m[1])); err != nil {
				t.Errorf("%s points to %s, which is not there", paper, m[1])
			} else if m[2] != "" && !slices.Contains(headings(t, filepath.Join(filepath.Dir(paper), m[1])), m[2]) {
				t.Errorf("%s points to %s, which has no heading %s", paper, m[1], m[2])
			}
		}
	}
}

// headings are those of a paper, as links name them.
func headings(t *testing.T, paper string) (all []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(read(t, paper), -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, "#"+strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
