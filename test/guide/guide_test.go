package guide

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// TestPages runs every page of the guide, and the README.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Fatal("the guide has no page")
	}
	for _, path := range append(pages, "../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := Steps(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		name := strings.TrimPrefix(path, "../../")
		t.Run(strings.TrimSuffix(name, ".md"), func(t *testing.T) {
			t.Parallel()
			follow(t, name, steps)
		})
	}
}

// follow does what a page says, on machines of its own: the host, one outside
// of it, and one without catenet, by whose hand the same is done. The outside
// is 192.0.2.2 to the host and 198.51.100.2 to the other. Where a page has a second
// host, that is on the wire of the first.
func follow(t *testing.T, page string, steps []Step) {
	if len(steps) == 0 {
		return
	}
	l := lab.New(t)
	host, outside, hand := l.Host("host"), l.Host("outside"), l.Host("hand")
	wire, hosts := []*lab.Host{host, outside}, []string{""}
	if slices.ContainsFunc(steps, func(s Step) bool { return s.Machine == "second" }) {
		wire, hosts = append(wire, l.Host("second")), append(hosts, "second")
	}
	l.Switch(wire, "192.0.2.0/24", "2001:db8::/64")
	l.Join(hand, outside, "198.51.100.0/24", "2001:db8:1::/64")
	hand.MustRun("ip", "route", "add", "default", "via", "198.51.100.2")
	machines := map[string]*machine{"outside": boot(t, outside), "hand": boot(t, hand)}
	for i, name := range hosts {
		h := wire[2*i]
		h.Via(outside)
		machines[name] = boot(t, h)
		machines[name].must(t, daemon)
		defer machines[name].must(t, end)
	}
	for _, s := range steps {
		out, code, err := machines[s.Machine].run(s.Command)
		for end := time.Now().Add(again); err == nil && s.asks() && !s.is(out, code) && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
			out, code, err = machines[s.Machine].run(s.Command)
		}
		switch {
		case err != nil:
			t.Fatalf("%s:%d: %s: %v\n%s", page, s.Line, s.Command, err, out)
		case (code != 0) != s.Fails():
			t.Fatalf("%s:%d: %s: exit code %d\n%s", page, s.Line, s.Command, code, out)
		case !s.Matches(out):
			t.Errorf("%s:%d: %s prints\n%s\nand the page says\n%s", page, s.Line, s.Command, out, strings.Join(s.Want, "\n"))
		}
	}
}

// again is how long a question is asked again.
const again = 10 * time.Second

// daemon starts catenetd, and end ends it: a page that leaves something of its
// own running fails, because that is told by nobody else than the daemon.
// systemctl does what systemd does with the unit in packaging/.
const (
	daemon = `mkdir -p /run/netns; echo nameserver 192.0.2.2 > /etc/resolv.conf
systemctl() {
	case $1 in
	start) catenetd 2>>/run/catenetd.log & daemon=$!
		for i in $(seq 200); do catenet info >/run/info 2>&1 && return; sleep 0.05; done; cat /run/info /run/catenetd.log; false ;;
	stop) kill $daemon; wait $daemon ;;
	restart) systemctl stop; systemctl start ;;
	reload) kill -USR2 $daemon ;;
	kill) kill -KILL $daemon; wait $daemon; systemctl start ;; # Restart=always
	esac
}
systemctl start catenet`
	end = `left=$(catenet ps -aq; catenet network ls -q --filter type=custom)
systemctl stop; catenetd --purge 2>/run/purge.log || { cat /run/purge.log; false; }
[ -z "$left" ] || { echo "the page leaves behind: $left"; false; }`
)
