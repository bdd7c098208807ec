package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// beside is a ground whose host a has somebody else's firewall, really running,
// and /etc and /run of its own for it. The daemon is not started yet.
type beside struct {
	*ground
	mounts string // path of the host's mount namespace
	env    []string
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24", "2001:db8:1::/64")
	g.a.Via(g.out)
	g.out.Serve("", 7000, "out")
	dir := filepath.Join(g.a.Dir, "apart")
	for _, d := range []string{"etc", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := g.a.Start("unshare", "--mount", "--propagation", "private", "sh", "-c",
		"mount -t overlay -o lowerdir=/etc,upperdir=$0/etc,workdir=$0/work etc /etc && mount -t tmpfs tmpfs /run && touch $0/ready && exec sleep 600", dir)
	g.Eventually(soon, func() string {
		if _, err := os.Stat(dir + "/ready"); err != nil {
			return "no folders apart: " + p.Output()
		}
		return ""
	})
	return &beside{ground: g, mounts: fmt.Sprintf("/proc/%d/ns/mnt", p.Pid)}
}

// their runs a command of the neighbour's that has to succeed.
func (b *beside) their(name string, args ...string) string {
	b.T.Helper()
	return b.a.MustRun("nsenter", b.apart(name, args...)...)
}

// start starts the neighbour itself.
func (b *beside) start(name string, args ...string) *lab.Process {
	b.T.Helper()
	return b.a.Start("nsenter", b.apart(name, args...)...)
}

func (b *beside) apart(name string, args ...string) []string {
	return append(append(append([]string{"--mount=" + b.mounts, "--", "env"}, b.env...), name), args...)
}

// theirs is everything in the packet filter that is not in tables of ours,
// without counters.
func (b *beside) theirs() string {
	var kept strings.Builder
	ours := false
	for line := range strings.Lines(b.a.MustRun("nft", "-s", "list", "ruleset")) {
		if strings.HasPrefix(line, "table ") {
			ours = strings.Contains(line, " catenet ")
		}
		if !ours {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// untouched wants their rules to be as they were.
func (b *beside) untouched(when, before string) {
	b.T.Helper()
	if after := b.theirs(); after != before {
		b.T.Errorf("%s, the rules of others are\n%s\nand were\n%s", when, after, before)
	}
}

// obstacle is what info names, which is to hold some words; "" wants none.
func (b *beside) obstacle(words ...string) (o catenet.Obstacle) {
	b.T.Helper()
	b.Eventually(soon, func() string {
		var info catenet.Info
		b.a.Inspect(&info, "info")
		for _, o = range info.Obstacles {
			missing := ""
			for _, w := range words {
				missing += absent(o.Rule+" "+o.Remedy, w)
			}
			if missing == "" {
				return ""
			}
		}
		return fmt.Sprintf("info names %+v, and nothing of %q", info.Obstacles, words)
	})
	return o
}

// works wants everything of ours to be reached: the published port, and from
// the container its neighbour and the outside.
func (b *beside) works(when string) {
	b.T.Helper()
	b.Eventually(soon, func() string {
		for _, ask := range []struct {
			from   *lab.Host
			ns, to string
			who    string
		}{
			{b.out, "", at(b.a.Addr4, 8080), "web"}, {b.out, "", at(b.a.Addr6, 8080), "web"}, {b.a, "", "127.0.0.1:8080", "web"},
			{b.a, b.ns("near"), at(b.addr4("web"), 80), "web"}, {b.a, b.ns("near"), at(b.out.Addr4, 7000), "out"}, {b.a, b.ns("near"), at(b.out.Addr6, 7000), "out"},
		} {
			if got := ask.from.Ask(ask.ns, "tcp", ask.to); !strings.HasPrefix(got, ask.who+" ") {
				return fmt.Sprintf("%s, %s is asked by %s %s and answers %q", when, ask.to, ask.from.Name, ask.ns, got)
			}
		}
		return ""
	})
}

// under runs steps while there is traffic, of which nothing may be lost: it has
// to go on for a while after each.
func (b *beside) under(steps ...func()) {
	b.T.Helper()
	near := b.ns("near")
	streams := map[string]*lab.Ping{
		"between containers": b.a.Ping(near, b.addr4("web").String(), 120),
		"by IPv6":            b.a.Ping(near, b.addr6("web").String(), 120),
		"to the outside":     b.a.Ping(near, b.out.Addr4.String(), 120),
	}
	more := func() {
		for name, p := range streams {
			before := p.Answered()
			b.Eventually(3*soon, func() string {
				if n := p.Answered() - before; n < 200 {
					return fmt.Sprintf("%s: only %d packets came back", name, n)
				}
				return ""
			})
		}
	}
	more()
	for _, step := range steps {
		step()
		more()
	}
	for name, p := range streams {
		if sent, lost := p.Stop(); lost != 0 {
			b.T.Errorf("%s: %d of %d packets were lost", name, lost, sent)
		}
	}
}

// restart ends our daemon, and starts the next.
func (b *beside) restart(args ...string) func() {
	return func() {
		b.T.Helper()
		b.a.Stop()
		b.a.Daemon(args...)
	}
}

// ours makes what works asks for.
func (b *beside) ours() {
	b.T.Helper()
	b.a.Catenet("network", "create", "--ipv6", "front")
	b.serve("web", "--network", "front", "-p", "8080:80")
	b.idle("near", "--network", "front")
}

// remove takes everything of ours from the host, as catenetd --remove does.
func (b *beside) remove() {
	b.T.Helper()
	b.a.Catenet("rm", "-f", "web", "near")
	b.a.Stop()
	b.a.MustRun(filepath.Join(lab.Binaries(b.T), "catenetd"), "--run-dir", b.a.RunDir(), "--state-dir", b.a.StateDir(), "--remove")
}

// TestBesideUfw: its policy drops what is forwarded, and --allow-forward helps.
func TestBesideUfw(t *testing.T) {
	b := newBeside(t)
	ufw := func(args ...string) func() { return func() { t.Helper(); b.their("ufw", args...) } }
	ufw("--force", "enable")()
	ufw("allow", "22/tcp")()
	ufw("reload")() // which completes the rules of the first time
	before := b.theirs()
	if !strings.Contains(before, "ufw-before-forward") {
		t.Fatalf("ufw is not there: this test proves nothing\n%s", before)
	}
	b.a.Daemon()
	b.ours()
	b.obstacle("FORWARD", "--allow-forward")
	b.silent(b.out, "", "tcp", at(b.a.Addr4, 8080))
	b.untouched("beside our networks and ports", before)

	b.restart("--allow-forward")()
	b.works("allowed")
	allowed := b.theirs()
	b.under(ufw("reload"), ufw("disable"), ufw("--force", "enable"), b.restart("--allow-forward"))
	b.works("after reloads")
	b.untouched("after reloads", allowed)
	b.restart()()
	b.untouched("no longer allowed", before)
	b.restart("--allow-forward")()
	b.remove()
	b.untouched("after our removal", before)
}

// TestBesideFirewalld: it refuses what no zone accepts, and its own trusted zone
// helps.
func TestBesideFirewalld(t *testing.T) {
	b := newBeside(t)
	bus := filepath.Join(b.a.Dir, "bus")
	conf := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=` + bus + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`
	if err := os.WriteFile(bus+".conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + bus}
	b.start("dbus-daemon", "--config-file="+bus+".conf", "--nofork", "--nopidfile")
	b.Eventually(soon, func() string {
		if _, err := os.Stat(bus); err != nil {
			return err.Error()
		}
		return ""
	})
	firewalld := b.start("firewalld", "--nofork", "--nopid")
	cmd := func(args ...string) func() { return func() { t.Helper(); b.their("firewall-cmd", args...) } }
	b.Eventually(3*soon, func() string {
		if r := b.a.Run("nsenter", b.apart("firewall-cmd", "--state")...); r.Code != 0 {
			return r.Text() + firewalld.Output()
		}
		return ""
	})
	before := b.theirs()
	b.a.Daemon()
	b.ours()
	remedy := b.obstacle("firewalld", "--zone=trusted").Remedy
	b.silent(b.a, b.ns("near"), "tcp", at(b.out.Addr4, 7000))
	b.untouched("beside our networks and ports", before)

	bridge := ""
	for _, l := range strings.Fields(b.a.MustRun("ip", "-br", "link")) {
		if strings.HasPrefix(l, "br-") {
			bridge = l
		}
	}
	for _, command := range []string{"firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE", "firewall-cmd --reload"} {
		if !strings.Contains(remedy, command) {
			t.Errorf("the remedy does not say %q: %s", command, remedy)
		}
		b.their("sh", "-c", strings.ReplaceAll(command, "BRIDGE", bridge))
	}
	b.works("with the remedy")
	trusted := b.theirs()
	b.under(cmd("--reload"), b.restart(), cmd("--reload"))
	b.works("after reloads")
	cmd("--complete-reload")() // says of itself that it ends what is on its way
	b.works("after a complete reload")
	b.untouched("after reloads", trusted)
	b.remove()
	b.untouched("after our removal", trusted)
	cmd("--permanent", "--zone=trusted", "--remove-interface="+bridge)()
	cmd("--reload")()
	b.untouched("with the remedy taken back", before)
}

// TestBesideDockerd: containers of both, and dockerd starts anew.
func TestBesideDockerd(t *testing.T) {
	b := newBeside(t)
	socket := "unix://" + b.a.Dir + "/docker.sock"
	dockerd := func() *lab.Process {
		return b.start("dockerd", "--host", socket, "--data-root", b.a.Dir+"/docker", "--exec-root", b.a.Dir+"/exec", "--pidfile", b.a.Dir+"/docker.pid", "--storage-driver", "vfs")
	}
	docker := func(args ...string) string { return b.their("docker", append([]string{"-H", socket}, args...)...) }
	p := dockerd()
	t.Cleanup(func() { p.Signal(syscall.SIGTERM) }) // its containerd ends with it
	up := func() {
		b.Eventually(3*soon, func() string {
			if r := b.a.Run("docker", "-H", socket, "version"); r.Code != 0 {
				return r.Text() + p.Output()
			}
			return ""
		})
	}
	up()
	b.a.MustRun("sh", "-c", "tar -c -C /bin busybox | docker -H $0 import - busybox:local", socket)
	docker("run", "-d", "--restart", "always", "--name", "them", "-p", "9090:80", "busybox:local", "/busybox", "nc", "-ll", "-p", "80", "-e", "/busybox", "echo", "them too")
	them := func(when string) {
		t.Helper()
		b.Eventually(soon, func() string {
			if got := b.out.Ask("", "tcp", at(b.a.Addr4, 9090)); got != "them too" {
				return fmt.Sprintf("%s, docker's container answers %q\n%s", when, got, docker("ps", "-a"))
			}
			return ""
		})
	}
	them("alone")
	before := b.theirs()
	b.a.Daemon()
	b.ours()
	b.obstacle("FORWARD", "--allow-forward")
	b.silent(b.out, "", "tcp", at(b.a.Addr4, 8080))
	them("beside ours")
	b.untouched("beside our networks and ports", before)

	b.restart("--allow-forward")()
	b.works("allowed")
	them("beside what is allowed")
	b.restart()()
	b.untouched("no longer allowed", before)
	b.restart("--allow-forward")()
	b.under(b.restart("--allow-forward"), func() { p.Signal(syscall.SIGHUP) }, func() {
		p.Signal(syscall.SIGTERM)
		p = dockerd()
		up()
	})
	b.works("after dockerd's restart")
	them("after dockerd's restart")
	b.remove()
	them("after our removal")
	if got := inOrder(b.theirs()); got != inOrder(before) { // dockerd has made its chains in another one
		t.Errorf("after dockerd's restart and our removal, its rules are\n%s\nand were\n%s", got, inOrder(before))
	}
	docker("rm", "-f", "them")
}

// inOrder sorts the chains of a ruleset; what is in a chain stays as it is.
func inOrder(ruleset string) string {
	var chains []string
	table := ""
	for line := range strings.Lines(ruleset) {
		switch {
		case strings.HasPrefix(line, "table "):
			table = strings.TrimSpace(line)
		case strings.HasPrefix(line, "\tchain "):
			chains = append(chains, table+line)
		case strings.HasPrefix(line, "\t\t"):
			chains[len(chains)-1] += line
		}
	}
	slices.Sort(chains)
	return strings.Join(chains, "")
}
