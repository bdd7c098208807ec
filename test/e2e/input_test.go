package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBadInput(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--subnet", "10.77.0.0/24", "front")
	g.idle("web", "--network", "front")
	snapshot := func() string {
		// The owner of a table is a comment, which nft looks up in /proc and
		// does not always find.
		return g.a.MustRun("sh", "-c", "ip -o link | cut -d: -f2") + g.a.Catenet("network", "ls") + g.a.Catenet("ps", "-a", "--format", "{{.Name}}") + g.a.MustRun("sh", "-c", "nft list ruleset | sed 's/ # progname .*//'")
	}
	before := snapshot()
	run := func(flags ...string) []string {
		return append(append([]string{"run", "-d"}, flags...), "--", "sleep", "60")
	}
	for _, tt := range []struct {
		args []string
		says []string
	}{
		{[]string{"network", "create", "--subnet", "10.77.0.128/25", "n"}, []string{"10.77.0.128/25", "10.77.0.0/24", "front"}},
		{[]string{"network", "create", "--subnet", "10.77.5.1", "n"}, []string{"10.77.5.1"}},
		{[]string{"network", "create", "--subnet", "10.78.0.0/24", "--gateway", "10.79.0.1", "n"}, []string{"10.79.0.1", "--subnet"}},
		{[]string{"network", "create", "--subnet", "10.78.0.0/24", "--ip-range", "10.79.0.0/25", "n"}, []string{"10.79.0.0/25"}},
		{[]string{"network", "create", "--subnet", "10.78.0.0/24", "--aux-address", "r=10.79.0.1", "n"}, []string{"10.79.0.1"}},
		{[]string{"network", "create", "front"}, []string{"front"}},
		{[]string{"network", "create", "a/b"}, []string{"a/b"}},
		{[]string{"network", "create", ".."}, []string{".."}},
		{[]string{"network", "create", "bridge"}, []string{"bridge"}},
		{[]string{"network", "create", "-d", "warp", "n"}, []string{"warp", "bridge"}},
		{[]string{"network", "create", "-o", "com.docker.network.bridge.enable_iccc=false", "n"}, []string{"enable_iccc", "enable_icc"}},
		{[]string{"network", "create", "-o", "com.docker.network.driver.mtu=many", "n"}, []string{"mtu", "many"}},
		{[]string{"network", "rm", "bridge"}, []string{"bridge"}},
		{[]string{"network", "rm", "nosuch"}, []string{"nosuch"}},
		{[]string{"network", "rm", "front"}, []string{"front", "web"}},
		{[]string{"network", "connect", "front", "nosuch"}, []string{"nosuch"}},
		{[]string{"network", "connect", "front", "web"}, []string{"front", "web"}},
		{run("--name", "web"), []string{"web"}},
		{run("--name", "a/b"), []string{"a/b"}},
		{run("--name", "-x"), []string{"-x"}},
		{run("--network", "nosuch"), []string{"nosuch"}},
		{run("--network", "front:ip=10.78.0.5"), []string{"10.78.0.5", "10.77.0.0/24"}},
		{run("--network", "front:ip=10.77.0.1"), []string{"10.77.0.1"}},
		{run("--network", "front:ip=10.77.0.255"), []string{"10.77.0.255"}},
		{run("--network", "front:ip=banana"), []string{"banana"}},
		{run("--network", "front:mac=banana"), []string{"banana"}},
		{run("--network", "front:flavour=mint"), []string{"flavour"}},
		{run("--network", "front:interface_name=far/too"), []string{"far/too"}},
		{run("--network", "front", "--network", "front"), []string{"front"}},
		{run("-p", "70000:80"), []string{"70000"}},
		{run("-p", "80:0"), []string{"0"}},
		{run("-p", "8000-8010:80-85"), []string{"8000-8010"}},
		{run("-p", "80:80/icmp"), []string{"icmp"}},
		{run("-p", "203.0.113.5:80:80"), []string{"203.0.113.5"}},
		{run("--dns", "banana"), []string{"banana"}},
		{run("--add-host", "nonsense"), []string{"nonsense"}},
		{run("--rootfs", "/nonexistent"), []string{"/nonexistent"}},
		{[]string{"attach", "--name", "x", "--netns", "/etc/passwd"}, []string{"/etc/passwd"}},
		{[]string{"attach", "--name", "x", "--netns", "/nonexistent"}, []string{"/nonexistent"}},
		{[]string{"attach", "--name", "x", "--pid", "4194304"}, []string{"4194304"}},
		{[]string{"attach", "--name", "x", "--netns", "/proc/self/ns/mnt"}, []string{"/proc/self/ns/mnt"}},
		{[]string{"attach", "--name", "x"}, []string{"--pid"}},
		{[]string{"exec", "nosuch", "--", "true"}, []string{"nosuch"}},
		{[]string{"nosuchverb"}, []string{"nosuchverb"}},
	} {
		g.a.Refused(tt.says, tt.args...)
		if after := snapshot(); after != before {
			t.Fatalf("catenet %s changed something:\n%s", strings.Join(tt.args, " "), cmp.Diff(before, after))
		}
	}
	if r := g.a.Try("network", "create"); r.Code != 2 {
		t.Errorf("a wrong usage exits %d", r.Code)
	}
	if r := g.a.Try("network", "rm", "nosuch"); r.Code != 1 {
		t.Errorf("a failure exits %d", r.Code)
	}
}

// TestHugeBody sends ten megabytes where a small document is expected, told
// and untold, and wants an answer before they are all read.
func TestHugeBody(t *testing.T) {
	g := newGround(t)
	const size = 10 << 20
	for _, head := range []string{fmt.Sprintf("Content-Length: %d", size), "Transfer-Encoding: chunked"} {
		c, err := g.a.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			fmt.Fprintf(c, "POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n", head)
			if strings.HasPrefix(head, "Transfer") {
				fmt.Fprintf(c, "%x\r\n", size)
			}
			// Breaks off when the server has heard enough.
			fmt.Fprintf(c, `{"name":"%s"}`, strings.Repeat("a", size-11))
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", head, err)
		}
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: answered %s", head, resp.Status)
		}
		resp.Body.Close()
		c.Close()
	}
	if got := g.a.Catenet("network", "ls", "-q"); strings.Count(got, "\n") != 2 {
		t.Errorf("the networks are %q", got)
	}
}
