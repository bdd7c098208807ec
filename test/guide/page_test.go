package guide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSteps(t *testing.T) {
	got, err := Steps("text\n```\n# not run\n```\n```console\n# one\nprints\n…\noutside# two\n> more\n```\n<!-- console\n# hidden\n-->\n")
	want := []Step{
		{6, "", "one", []string{"prints", "…"}},
		{9, "outside", "two\nmore", nil},
		{13, "", "hidden", nil},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"```console\nno prompt\n```\n", "```console\n# no end\n"} {
		if _, err := Steps(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestAsks: what is asked again changes nothing.
func TestAsks(t *testing.T) {
	for command, asks := range map[string]bool{
		"curl -sS http://db/": true, "catenet exec db -- dig +short web": true, "ip netns exec c2 ping -c1 10.0.0.1": true,
		"catenet run -d -- sleep 600": false, "ip link add curly type bridge": false, "socat TCP-LISTEN:80 -": false,
	} {
		if (Step{Command: command}).asks() != asks {
			t.Errorf("%q asks: %v", command, !asks)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want   []string
		output string
		is     bool
	}{
		{nil, "anything\n", true},
		{[]string{"a b"}, "a b\n", true},
		{[]string{"a b"}, "a b  \n", true},
		{[]string{"a b"}, "a bc\n", false},
		{[]string{"a b"}, "a b\nmore\n", false},
		{[]string{"a … c"}, "a 12.3 c\n", true},
		{[]string{"a … c"}, "a\nc\n", false},
		{[]string{"…       c"}, "abcdef  c\n", true},
		{[]string{"a", "…", "z"}, "a\nb\nc\nz\n", true},
		{[]string{"a", "…", "z"}, "a\nz\n", true},
		{[]string{"a", "…"}, "a", true},
		{[]string{"a.c"}, "abc\n", false},
	} {
		if got := (Step{Want: c.want}).Matches(c.output); got != c.is {
			t.Errorf("%q matches %q: %v", c.want, c.output, got)
		}
	}
	if !(Step{Want: []string{"catenet: no"}}).Fails() || (Step{}).Fails() || (Step{Want: []string{"catenet: warning: no"}}).Fails() {
		t.Error("what fails is told by its message")
	}
}
