package guide

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// guide is all pages, by name, the text of all, and what they run on the host.
type guide struct {
	pages    []string
	text     string
	commands string
	index    string
}

func read(t *testing.T) (g guide) {
	t.Helper()
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := Steps(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, s := range steps {
			if s.Machine == "" {
				g.commands += s.Command + "\n"
			}
		}
		g.text += string(text)
		if name := filepath.Base(path); name == "README.md" {
			g.index = string(text)
		} else {
			g.pages = append(g.pages, name)
		}
	}
	return g
}

// names reports whether a text has one of several words, which is no part of a
// longer one. What ends with "=" is followed by a value.
func names(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool {
		end := `([^a-z0-9_-]|$)`
		if strings.HasSuffix(word, "=") {
			end = ""
		}
		return word != "" && regexp.MustCompile(`(^|[^a-z0-9_-])`+regexp.QuoteMeta(word)+end).MatchString(text)
	})
}

// help returns what a program of ours says of itself.
func help(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(lab.Binaries(t), program), append(args, "--help")...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return string(out)
}

var (
	verb = regexp.MustCompile(`(?m)^  ([a-z]+)  `)
	flag = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z0-9-]+)`)
	keys = regexp.MustCompile(`NET\[:(\S+)\]`)
)

// verbs lists what catenet does, as words and with its help.
func verbs(t *testing.T, above ...string) map[string]string {
	t.Helper()
	text := help(t, "catenet", above...)
	all := map[string]string{strings.Join(above, " "): text}
	_, below, _ := strings.Cut(text, "Available Commands:")
	below, _, _ = strings.Cut(below, "\n\n")
	for _, m := range verb.FindAllStringSubmatch(below, -1) {
		if m[1] != "help" {
			for name, text := range verbs(t, append(slices.Clone(above), m[1])...) {
				all[name] = text
			}
		}
	}
	return all
}

// TestNoFlagIsForgotten: each flag is named in some page, and each that makes
// and changes networks and containers, as each key of --network, is in a command
// that is run.
func TestNoFlagIsForgotten(t *testing.T) {
	t.Parallel()
	g := read(t)
	all := verbs(t)
	making := []string{"network create", "network update", "network connect", "network disconnect", "run", "attach"}
	for _, name := range append(making, "ps") {
		if all[name] == "" {
			t.Errorf("there is no verb %q among %d", name, len(all))
		}
	}
	for name, text := range all {
		text, _, _ = strings.Cut(text, "Global Flags:")
		for _, m := range flag.FindAllStringSubmatch(text, -1) {
			switch {
			case m[2] == "--help":
			case !names(g.text, m[2]):
				t.Errorf("no page names %s of %s", m[2], name)
			case slices.Contains(making, name) && !names(g.commands, m[1], m[2]):
				t.Errorf("no page runs %s of %s", m[2], name)
			}
		}
	}
	key := keys.FindStringSubmatch(all["run"])
	if key == nil {
		t.Fatal("--network has no keys")
	}
	for k := range strings.SplitSeq(key[1], ",") {
		if !names(g.commands, strings.TrimSuffix(k, "…")) {
			t.Errorf("no page runs --network with %s", k)
		}
	}
}

// TestNoSettingIsForgotten: each of the daemon's is named in some page.
func TestNoSettingIsForgotten(t *testing.T) {
	t.Parallel()
	g := read(t)
	for _, m := range flag.FindAllStringSubmatch(help(t, "catenetd"), -1) {
		if setting := strings.TrimPrefix(m[2], "--"); setting != "help" && !names(g.text, m[2]) && !strings.Contains(g.text, "`"+setting+"`") {
			t.Errorf("no page names the setting %s", setting)
		}
	}
}

// TestNoOptionIsForgotten: each option that a driver has is in a command that is
// run.
func TestNoOptionIsForgotten(t *testing.T) {
	t.Parallel()
	g := read(t)
	h := lab.New(t).Host("host")
	h.Daemon()
	var info catenet.Info
	h.Inspect(&info, "info")
	if len(info.Options["bridge"].Network) == 0 {
		t.Fatalf("the drivers' options are %v", info.Options)
	}
	for driver, options := range info.Options {
		for _, o := range slices.Concat(options.Network, options.Endpoint) {
			if !names(g.commands, o) {
				t.Errorf("no page runs the option %s of driver %s", o, driver)
			}
		}
	}
}

func TestTheIndexHasAllPages(t *testing.T) {
	g := read(t)
	for _, page := range g.pages {
		if !strings.Contains(g.index, "]("+page+")") {
			t.Errorf("the index does not point to %s", page)
		}
	}
}
