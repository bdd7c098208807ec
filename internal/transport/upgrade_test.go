package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/tun"
)

// envNode has the test binary be the first node, a program of its own.
const envNode = "CATENET_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(envNode) == "" {
		os.Exit(m.Run())
	}
	if err := serveNode(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// serveNode carries packets until SIGTERM; at SIGUSR2 the same program takes its
// place. It says when it is ready.
func serveNode() error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR2)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	handed, err := handover.Receive()
	if err != nil {
		return err
	}
	host, err := link.Open(nil, log)
	if err != nil {
		return err
	}
	n := &node{n: 1}
	tunnels := tun.New(host, log)
	tunnels.Inherit(handed)
	tunnel, err := tunnels.OpenTunnel(ctx, n.spec())
	if err != nil {
		return err
	}
	table := new(Table)
	if err := table.Set(Peer{netip.MustParsePrefix("10.5.2.0/24"), second}); err != nil {
		return err
	}
	tr, err := New(tunnel, table, n.spec().Addrs[0].Addr(), log)
	if err != nil {
		return err
	}
	tr.SetLocal(netip.MustParsePrefix("10.5.1.0/24"))
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	fmt.Println("ready")
	for {
		select {
		case err := <-done:
			return err
		case <-again:
			parcel := new(handover.Parcel)
			tunnels.HandOver(parcel)
			return parcel.Exec(ctx, "/proc/self/exe", syscall.SIGUSR2)
		}
	}
}

// program is a node that is a program.
type program struct {
	*exec.Cmd
	out  io.Reader
	says *bufio.Scanner
}

// start starts the first node as a program, and waits until it is ready.
func start(t *testing.T, n *node) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.host.Command(self)
	cmd.Env = append(os.Environ(), envNode+"=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd, out, bufio.NewScanner(out)}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.end(t, syscall.SIGKILL)
		}
	})
	p.ready(t)
	return p
}

func (p *program) ready(t *testing.T) {
	t.Helper()
	if !p.says.Scan() || p.says.Text() != "ready" {
		t.Fatalf("it says %q", p.says.Text())
	}
}

// end ends it, and waits.
func (p *program) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.Wait()
}

// pings starts so many pings, twenty milliseconds apart, of which the result
// says how many were answered.
func pings(t *testing.T, n *node, count int) (answered func() int) {
	t.Helper()
	cmd := n.box.Command("ping", "-n", "-i0.02", "-W5", fmt.Sprint("-c", count), "10.5.2.2")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "bytes from") {
	}
	return func() int {
		n := 1
		for lines.Scan() {
			if strings.Contains(lines.Text(), "bytes from") && !strings.Contains(lines.Text(), "DUP") {
				n++
			}
		}
		_ = cmd.Wait() // it fails if one was not answered, which is counted
		return n
	}
}

// TestAnUpgradeCarriesOn: one program takes the place of the other while there
// is traffic. What is under way in the very moment may be lost; it is sent so
// rarely that at most one is, for each of the upgrades.
func TestAnUpgradeCarriesOn(t *testing.T) {
	t.Parallel()
	a, b := wire(t)
	b.run()
	p := start(t, a)
	const count, upgrades = 60, 3
	sockets := inodes(a)
	answered := pings(t, a, count)
	for range upgrades {
		if err := p.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		p.ready(t)
	}
	if n := answered(); n < count-upgrades {
		t.Errorf("%d of %d answered", n, count)
	}
	if now := inodes(a); len(sockets) != 2 || !slices.Equal(sockets, now) {
		t.Errorf("the sockets were %v, and are %v", sockets, now)
	}
	stream(t, a, b, much)
	p.end(t, syscall.SIGTERM)
}

// inodes tells the sockets of a node apart.
func inodes(n *node) (all []string) {
	for _, word := range strings.Fields(n.host.Run("ss", "-ulnHe", "sport = :8285")) {
		if strings.HasPrefix(word, "ino:") {
			all = append(all, word)
		}
	}
	slices.Sort(all)
	return all
}

// TestAfterAKill: the device is there, with its routes, and the next program
// goes on with it.
func TestAfterAKill(t *testing.T) {
	t.Parallel()
	a, b := wire(t)
	b.run()
	p := start(t, a)
	a.host.Run("ip", "route", "add", "10.9.0.0/16", "dev", "flannel0")
	before := a.host.Run("ip", "-o", "link", "show", "flannel0")
	p.end(t, syscall.SIGKILL)
	if out, err := a.box.Try("ping", "-c1", "-W1", "10.5.2.2"); err == nil {
		t.Errorf("nobody carries packets, but %s", out)
	}
	began := time.Now()
	p = start(t, a)
	a.box.Run("ping", "-c1", "-W5", "10.5.2.2")
	t.Logf("back after %v", time.Since(began))
	index, _, _ := strings.Cut(before, ":")
	if after := a.host.Run("ip", "-o", "link", "show", "flannel0"); !strings.HasPrefix(after, index+":") {
		t.Errorf("it was %sand is %s", before, after)
	}
	if routes := a.host.Run("ip", "route"); !strings.Contains(routes, "10.9.0.0/16 dev flannel0") {
		t.Errorf("routes: %s", routes)
	}
	p.end(t, syscall.SIGTERM)
}
