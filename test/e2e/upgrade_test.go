package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/lab"
)

// upgrades is how often the daemon is replaced under load.
const upgrades = 10

// TestUpgradesFailNothing replaces the daemon ten times while lookups and
// requests go on. Each is sent once, and waited for. Meanwhile another program
// tries to take a published port.
func TestUpgradesFailNothing(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	slowUpstream(g)
	g.serve("db", "--network", "front", "-p", "8080:80")
	for i := range 3 {
		g.idle(fmt.Sprintf("web%d", i), "--network", "front", "--dns", g.out.Addr4.String())
	}
	g.upgrade()
	before := held(t, g.a)
	var l load
	for i := range 3 {
		ns := g.ns(fmt.Sprintf("web%d", i))
		for _, name := range []string{"db", "far.example"} {
			for _, proto := range []string{"udp", "tcp"} {
				l.lookups(ns, proto, name, false)
				l.lookups(ns, proto, name, true)
			}
		}
	}
	for range 2 {
		l.requests(t, g.a.Socket())
	}
	l.run("another program", func() error {
		return g.a.NS.Do(func() error {
			if c, err := net.Listen("tcp", ":8080"); err == nil {
				return errors.Join(errors.New("takes the published port"), c.Close())
			}
			return nil
		})
	})
	pid := g.a.DaemonPid()
	for range upgrades {
		g.upgrade()
		l.more(g)
	}
	l.stop(t)
	g.upgrade() // which has nothing to do, as the first
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "db")
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "db")
	g.Eventually(soon, func() string {
		// Sockets of netlink are made as they are needed, some at a time.
		now := held(t, g.a)
		for kind, n := range now {
			if n-before[kind] >= upgrades/2 {
				return fmt.Sprintf("before the upgrades the daemon had %v, after the last %v", before, now)
			}
		}
		return ""
	})
	if got := proc(t, pid, "cmdline"); strings.Count(got, "--run-dir") != 1 {
		t.Errorf("the command line is %q", got)
	}
	if got := proc(t, pid, "environ"); strings.Count(got, "CATENETD_HANDOVER=") != 1 {
		t.Errorf("the environment is %q", got)
	}
	if got := g.a.Exec("web0", "env").Text(); strings.Contains(got, "HANDOVER") {
		t.Errorf("a program of a container has %s", got)
	}
	// Programs that an earlier daemon has started are reaped by this one.
	g.a.Catenet("rm", "-f", "web0", "web1", "web2", "db")
	g.Eventually(soon, func() string {
		return g.a.Run("ps", "-o", "pid,stat,args", "--no-headers", "--ppid", fmt.Sprint(pid)).Text()
	})
}

// TestAProgramThatCannotStartReplacesNothing: the daemon goes on, with who is
// connected to it.
func TestAProgramThatCannotStartReplacesNothing(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	good := filepath.Join(lab.Binaries(t), "catenetd")
	g.a.Program = filepath.Join(g.a.Dir, "catenetd")
	place := func(what ...string) {
		t.Helper()
		g.a.MustRun(what[0], append(what[1:], g.a.Program+".new")...)
		g.a.MustRun("mv", g.a.Program+".new", g.a.Program)
	}
	place("cp", good)
	g.a.MustRun("ln", "-s", filepath.Join(lab.Binaries(t), "catenet-shim"), g.a.Dir)
	g.a.Daemon()
	g.a.Catenet("network", "create", "front")
	g.idle("db", "--network", "front")
	g.idle("web", "--network", "front")
	var l load
	for _, proto := range []string{"udp", "tcp"} {
		l.lookups(g.ns("web"), proto, "db", false)
	}
	l.requests(t, g.a.Socket())
	refused := func(why string) {
		t.Helper()
		before := strings.Count(g.a.Log(), "cannot take our place") + strings.Count(g.a.Log(), "can take our place")
		g.a.Upgrade()
		g.Eventually(soon, func() string {
			if strings.Count(g.a.Log(), "cannot take our place")+strings.Count(g.a.Log(), "can take our place") == before {
				return why + " is not refused:\n" + g.a.Log()
			}
			return ""
		})
		l.more(g)
	}
	served := strings.Count(g.a.Log(), "catenetd serves")
	place("cp", "/etc/hostname")
	refused("a file that is no program")
	place("cp", "/bin/false")
	refused("a program that fails")
	place("sh", "-c", `printf '#!/bin/sh\nrm "$0"\n' >"$0" && chmod +x "$0"`) // fit to start, and gone when it is to
	refused("a program that is gone")
	if strings.Count(g.a.Log(), "catenetd serves") != served {
		t.Errorf("another program has started:\n%s", g.a.Log())
	}
	place("cp", good)
	g.upgrade()
	l.more(g)
	l.stop(t)
}

// TestWhoFollowsFindsBackAfterAnUpgrade: a program that is run in the
// foreground is followed to its end, the service manager is told what happens,
// and a published port stays the next daemon's.
func TestWhoFollowsFindsBackAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	told := g.serviceManager()
	g.a.Daemon()
	on := filepath.Join(t.TempDir(), "on")
	ended := make(chan lab.Result, 1)
	go func() {
		ended <- g.a.Try("run", "--name", "job", "-p", "8080:80", "--", "sh", "-c", `echo one; until [ -e "$0" ]; do sleep 0.05; done; echo two; exit 7`, on)
	}()
	g.Eventually(soon, func() string {
		if r := g.a.Try("logs", "job"); !strings.Contains(r.Stdout, "one") {
			return "the job does not run: " + r.Text()
		}
		return ""
	})
	g.upgrade()
	g.upgrade()
	if r := g.a.Run("socat", "-u", "OPEN:/dev/null", "TCP-LISTEN:8080"); r.Code == 0 || !strings.Contains(r.Text(), "in use") {
		t.Errorf("the host's port can be taken: %s", r.Text())
	}
	if err := os.WriteFile(on, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.Code != 7 || r.Stdout != "one\ntwo\n" {
		t.Errorf("exit status %d, %q, %q", r.Code, r.Stdout, r.Stderr)
	}
	const again = `\nRELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\nREADY=1`
	all := slices.DeleteFunc(told(), func(s string) bool { return strings.HasPrefix(s, "STATUS=") }) // of a slow start
	if got := strings.Join(all, "\n"); !regexp.MustCompile("^READY=1" + again + again + "$").MatchString(got) {
		t.Errorf("the service manager is told\n%s", got)
	}
}

// TestAnUpgradeDoesNotHideTheEnd: a signal to end that comes while requests
// are waited for ends the daemon, and not just the program that goes.
func TestAnUpgradeDoesNotHideTheEnd(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	g.a.Daemon()
	says := func(word string) {
		t.Helper()
		g.Eventually(soon, func() string {
			if got := g.a.Catenet("logs", "deaf"); !strings.Contains(got, word) {
				return "the container says " + got
			}
			return ""
		})
	}
	g.a.Catenet("run", "-d", "--name", "deaf", "--", "sh", "-c", `trap "echo asked" TERM; echo here; while :; do sleep 0.05; done`)
	says("here")
	stopped := make(chan lab.Result, 1)
	go func() { stopped <- g.a.Try("stop", "-t", "2", "deaf") }()
	says("asked")
	g.a.Upgrade()
	g.Eventually(soon, func() string {
		if !strings.Contains(g.a.Log(), "makes room") {
			return "it does not make room"
		}
		return ""
	})
	g.a.Stop()
	if code := g.a.DaemonCode(); code != 0 {
		t.Errorf("the daemon ends with %d", code)
	}
	if r := <-stopped; r.Code != 0 {
		t.Errorf("the request under way fails: %s", r.Text())
	}
	if _, err := os.Stat(g.a.Socket()); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestUpgradesOnUpgrades: signals that come at any moment of an upgrade end
// nothing. No other daemon can come in between, and what is scraped goes on.
func TestUpgradesOnUpgrades(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	const metrics = "127.0.0.1:9123"
	g.a.Daemon("--metrics", metrics)
	held := func() string {
		return g.a.Run("sh", "-c", `ss -Hxl | grep -o '@catenetd-[^ ]*'; ss -Hltne sport = :9123 | grep -o 'ino:[0-9]*'`).Stdout
	}
	before := held()
	if strings.Count(before, "\n") != 2 {
		t.Fatalf("the daemon listens at %q", before)
	}
	for end := time.Now().Add(upgrades * soon); strings.Count(g.a.Log(), "catenetd serves") <= upgrades; {
		g.a.Upgrade()
		if g.a.DaemonEnds(time.Millisecond) || time.Now().After(end) {
			t.Fatalf("ended: %v\n%s", g.a.DaemonEnds(0), g.a.Log())
		}
	}
	g.a.Catenet("network", "ls")
	if after := held(); after != before {
		t.Errorf("it listened at %q and does at %q: somebody else could have", before, after)
	}
	if got := g.a.MustRun("curl", "-s", "-m", "5", "http://"+metrics+"/metrics"); !strings.Contains(got, "catenet_things") {
		t.Errorf("metrics:\n%s", got)
	}
	g.a.Stop()
	g.a.Daemon() // without the socket of its metrics, which the ledger would find
}

// TestAnUpgradeReadsTheSettingsAnew: the API is where they say by then, and
// nowhere else. A socket whose file somebody has removed is made anew.
func TestAnUpgradeReadsTheSettingsAnew(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	file, other := filepath.Join(g.a.Dir, "catenet.yaml"), filepath.Join(g.a.RunDir(), "other.sock")
	settings := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings("")
	g.a.Daemon("--config", file)
	settings("listen: unix://" + other)
	g.upgrade()
	if _, err := os.Stat(g.a.Socket()); !os.IsNotExist(err) {
		t.Errorf("the earlier socket is left: %v", err)
	}
	if r := g.a.Run(filepath.Join(lab.Binaries(t), "catenet"), "-H", "unix://"+other, "ps"); r.Code != 0 {
		t.Errorf("nobody answers at the next: %s", r.Text())
	}
	plugin := lab.NewPlugin(filepath.Join(g.a.Dir, "plugin.sock"))
	t.Cleanup(plugin.Close)
	settings("docker-plugin: " + filepath.Join(g.a.Dir, "plugin.sock") + "\ndocker-host: ''")
	for range 2 {
		g.upgrade()
		if _, err := plugin.Call("Plugin.Activate", nil); err != nil {
			t.Errorf("dockerd is not answered: %v", err)
		}
	}
	settings("")
	g.upgrade()
	if left, err := filepath.Glob(filepath.Join(g.a.Dir, "plugin.sock")); len(left) > 0 || err != nil {
		t.Errorf("the plugin's socket is left: %v, %v", left, err)
	}
	for range 3 { // or it was made anew before the next program looked
		if err := os.Remove(g.a.Socket()); err != nil {
			t.Fatal(err)
		}
		g.upgrade()
		g.Eventually(soon, func() string { return g.a.Try("ps", "-q").Text() })
	}
}

// upgrade has the daemon replaced, and returns when the next one serves.
func (g *ground) upgrade() {
	g.T.Helper()
	before := strings.Count(g.a.Log(), "catenetd serves")
	g.a.Upgrade()
	g.Eventually(soon, func() string {
		if strings.Count(g.a.Log(), "catenetd serves") == before {
			return "no other program has taken the daemon's place:\n" + g.a.Log()
		}
		return ""
	})
}

// load is lookups and requests that go on until stop.
type load struct {
	wg      sync.WaitGroup
	over    atomic.Bool
	done    []*atomic.Int64 // by who asks
	longest atomic.Int64    // in nanoseconds
	closers []func()
	mu      sync.Mutex
	failed  []string
}

// run does one thing again and again.
func (l *load) run(what string, do func() error) {
	n := new(atomic.Int64)
	l.done = append(l.done, n)
	l.wg.Go(func() {
		for !l.over.Load() {
			began := time.Now()
			if err := do(); err != nil {
				l.mu.Lock()
				l.failed = append(l.failed, fmt.Sprintf("%s, after %d: %v", what, n.Load(), err))
				l.mu.Unlock()
				return
			}
			took := time.Since(began).Nanoseconds()
			for was := l.longest.Load(); took > was && !l.longest.CompareAndSwap(was, took); was = l.longest.Load() {
			}
			n.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
}

// lookups asks a namespace's resolver for a name; again says that each
// question has a socket of its own.
func (l *load) lookups(ns, proto, name string, again bool) {
	var conn *dns.Conn
	d := dns.Client{Net: proto, Timeout: soon}
	l.closers = append(l.closers, func() {
		if conn != nil {
			conn.Close()
		}
	})
	l.run(fmt.Sprintf("%s by %s, new sockets: %v", name, proto, again), func() error {
		if again && conn != nil {
			if err := conn.Close(); err != nil {
				return err
			}
			conn = nil
		}
		if conn == nil {
			if err := kerneltest.In(ns, func() (err error) { conn, err = d.Dial("127.0.0.11:53"); return err }); err != nil {
				return err
			}
		}
		reply, _, err := d.ExchangeWithConn(new(dns.Msg).SetQuestion(name+".", dns.TypeA), conn)
		if err != nil {
			return err
		}
		if len(reply.Answer) != 1 {
			return fmt.Errorf("the answer is %v", reply)
		}
		return nil
	})
}

// requests asks the API, by connections that are kept.
func (l *load) requests(t *testing.T, socket string) {
	c, err := client.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	l.closers = append(l.closers, c.Close)
	i := len(l.done)
	l.run("a request", func() error {
		if _, err := c.Networks(context.Background()); err != nil {
			return err
		}
		name := fmt.Sprintf("n%d", i)
		if _, _, err := c.CreateNetwork(context.Background(), catenet.NetworkSpec{Name: name}); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		_, err := c.RemoveNetwork(context.Background(), name)
		return err
	})
}

// more waits until everybody has got on, or somebody has failed.
func (l *load) more(g *ground) {
	g.T.Helper()
	var at []int64
	for _, n := range l.done {
		at = append(at, n.Load())
	}
	g.Eventually(soon, func() string {
		l.mu.Lock()
		failed := len(l.failed)
		l.mu.Unlock()
		for i, n := range l.done {
			if n.Load() < at[i]+2 && failed == 0 {
				return fmt.Sprintf("number %d of those who ask does not get on", i)
			}
		}
		return ""
	})
}

// stop waits for the last answers, and tells what failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.over.Store(true)
	l.wg.Wait()
	for _, c := range l.closers {
		c()
	}
	total := int64(0)
	for _, n := range l.done {
		total += n.Load()
	}
	t.Logf("%d lookups and requests, the longest took %s", total, time.Duration(l.longest.Load()).Round(time.Millisecond))
	for _, f := range l.failed {
		t.Error(f)
	}
}

// slowUpstream answers, from the outside, any name with an address after some
// time, so that there are always questions on their way.
func slowUpstream(g *ground) {
	g.T.Helper()
	var pc net.PacketConn
	err := kerneltest.In(g.out.NS.Path, func() (err error) {
		pc, err = net.ListenPacket("udp", g.out.Addr4.String()+":53")
		return err
	})
	if err != nil {
		g.T.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(20 * time.Millisecond)
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(203, 0, 113, 1)}}
		_ = w.WriteMsg(m) // whoever asked may be gone
	})}
	served := make(chan error, 1)
	go func() { served <- s.ActivateAndServe() }()
	g.T.Cleanup(func() { _ = s.Shutdown(); <-served })
}

// held is what descriptors a daemon has: how many of each kind.
func held(t *testing.T, h *lab.Host) map[string]int {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", h.DaemonPid()))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, l := range links {
		if at, err := os.Readlink(l); err == nil { // else it was closed just now
			kind, _, _ := strings.Cut(at, ":[")
			kinds[kind]++
		}
	}
	return kinds
}

// proc reads a file of a process.
func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
