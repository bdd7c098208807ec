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

// guide returns all pages as one text, and the index alone.
func guide(t *testing.T) (all, index string) {
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
		if filepath.Base(path) == "README.md" {
			index = string(text)
		}
		all += string(text)
	}
	return all, index
}

// names reports whether a text has a word, which is no part of a longer one. What
// ends with "=" is followed by a value.
func names(text, word string) bool {
	end := `([^a-z0-9_-]|$)`
	if strings.HasSuffix(word, "=") {
		end = ""
	}
	return regexp.MustCompile(`(^|[^a-z0-9_-])` + regexp.QuoteMeta(word) + end).MatchString(text)
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
	flag = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z0-9-]+)`)
	keys = regexp.MustCompile(`NET\[:(\S+)\]`)
)

// flags lists those of a verb of catenet and of the verbs below it.
func flags(t *testing.T, verbs ...string) []string {
	t.Helper()
	text := help(t, "catenet", verbs...)
	var all []string
	for _, m := range flag.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	for _, m := range keys.FindAllStringSubmatch(text, -1) { // of --network
		for key := range strings.SplitSeq(m[1], ",") {
			all = append(all, strings.TrimSuffix(key, "…"))
		}
	}
	if _, below, ok := strings.Cut(text, "Available Commands:"); ok {
		below, _, _ = strings.Cut(below, "\n\n")
		for _, m := range verb.FindAllStringSubmatch(below, -1) {
			if m[1] != "help" {
				all = append(all, flags(t, append(slices.Clone(verbs), m[1])...)...)
			}
		}
	}
	return all
}

// TestNoFlagIsForgotten: each flag, and each key of --network, is named in some
// page.
func TestNoFlagIsForgotten(t *testing.T) {
	t.Parallel()
	all, _ := guide(t)
	found := flags(t)
	if !slices.Contains(found, "--gw-priority") || !slices.Contains(found, "interface_name=") {
		t.Fatalf("these are not all flags: %v", found)
	}
	for _, f := range found {
		if f != "--help" && !names(all, f) {
			t.Errorf("no page names %s", f)
		}
	}
	for _, m := range flag.FindAllStringSubmatch(help(t, "catenetd"), -1) {
		setting := "`" + strings.TrimPrefix(m[1], "--") + "`"
		if m[1] != "--help" && !names(all, m[1]) && !strings.Contains(all, setting) {
			t.Errorf("no page names the setting %s", setting)
		}
	}
}

// TestNoOptionIsForgotten: each option that a driver has is named in some page.
func TestNoOptionIsForgotten(t *testing.T) {
	t.Parallel()
	all, _ := guide(t)
	h := lab.New(t).Host("host")
	h.Daemon()
	var info catenet.Info
	h.Inspect(&info, "info")
	if len(info.Options["bridge"].Network) == 0 {
		t.Fatalf("the drivers' options are %v", info.Options)
	}
	for driver, options := range info.Options {
		for _, o := range slices.Concat(options.Network, options.Endpoint) {
			if !names(all, o) {
				t.Errorf("no page names the option %s of driver %s", o, driver)
			}
		}
	}
}

// TestTheIndexHasAllPages.
func TestTheIndexHasAllPages(t *testing.T) {
	_, index := guide(t)
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		if page := filepath.Base(path); page != "README.md" && !strings.Contains(index, "]("+page+")") {
			t.Errorf("the index does not point to %s", page)
		}
	}
}
