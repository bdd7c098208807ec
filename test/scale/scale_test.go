// Package scale has one host serve a thousand sandboxes.
package scale

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	sandboxes = 1000
	networks  = 4
	clients   = 8
	// hangs is when what should take seconds has failed.
	hangs = 60 * time.Second
)

// TestAThousandSandboxes attaches them, kills the daemon, and starts it: what
// is there is found, and left as it is.
func TestAThousandSandboxes(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Daemon()
	places := makePlaces(t, sandboxes)
	c, err := client.New("unix://" + h.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	attachAll(t, c, places)
	t.Logf("%d attached in %s", sandboxes, time.Since(began).Round(time.Millisecond))

	askers := dialAll(t, places)
	if n := askers.answered(); n != sandboxes {
		t.Fatalf("only %d are answered", n)
	}
	watch := watchHost(t, h, places)
	for i, how := range []string{"SIGKILL", "SIGKILL again", "SIGUSR2"} {
		served := strings.Count(h.Log(), "catenetd serves")
		watch.begin(t)
		began := time.Now()
		if how == "SIGUSR2" {
			h.Upgrade()
		} else {
			h.Kill()
			began = time.Now()
			h.StartDaemon()
		}
		last := askers.firstAnswers(t, began)
		l.Eventually(hangs, func() string {
			if strings.Count(h.Log(), "catenetd serves") == served {
				return "it does not serve: " + h.Log()
			}
			return ""
		})
		t.Logf("%s: lookups are answered after %s, requests after %s; it has %s", how, last, time.Since(began).Round(time.Millisecond), size(t, h.DaemonPid()))
		if n := askers.answered(); n != sandboxes {
			t.Errorf("after %s only %d are answered", how, n)
		}
		host, inside, events := watch.end(t)
		t.Logf("%s: %d transactions of the firewall on the host, %d inside, %d changes of links, addresses and routes", how, host, inside, events)
		// The tables of one that was killed are nobody's: the next takes them.
		if most := 1 - i/2; host > most || inside > 0 || events > 0 {
			t.Errorf("%s: a start that has nothing to do writes to the kernel", how)
		}
	}
	if got := strings.Count(h.Log(), "running=1000 link_writes=0"); got != 3 {
		t.Errorf("%d of 3 starts say that they wrote nothing:\n%s", got, h.Log())
	}
	sideBySide(t, sandboxes, func(i int) error { return c.Remove(t.Context(), fmt.Sprintf("s%d", i), true) })
}

// size is what a process takes up.
func size(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	rss, _, _ = strings.Cut(rss, "\n")
	return fmt.Sprintf("%s of memory, %d descriptors", strings.TrimSpace(rss), len(files))
}

// makePlaces makes namespaces without anything.
func makePlaces(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	places := make([]string, n)
	for i := range places {
		places[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(places[i], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := kerneltest.In("/proc/thread-self/ns/net", func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			return unix.Mount("/proc/thread-self/ns/net", places[i], "", unix.MS_BIND, "")
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(places[i], unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	return places
}

// attachAll gives every namespace its place in networks, some in two, some
// with a published port.
func attachAll(t *testing.T, c *client.Client, places []string) {
	t.Helper()
	for i := range networks {
		if _, _, err := c.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: fmt.Sprintf("n%d", i), IPv6: i == 0}); err != nil {
			t.Fatal(err)
		}
	}
	sideBySide(t, len(places), func(i int) error {
		spec := catenet.SandboxSpec{Name: fmt.Sprintf("s%d", i), Owner: catenet.OwnerAttach, Netns: places[i]}
		spec.Networks = []catenet.EndpointSpec{{Network: fmt.Sprintf("n%d", i%networks), Aliases: []string{fmt.Sprintf("alias%d", i)}}}
		if i%10 == 0 {
			spec.Networks = append(spec.Networks, catenet.EndpointSpec{Network: fmt.Sprintf("n%d", (i+1)%networks)})
			spec.Ports = []catenet.PortSpec{{Proto: catenet.TCP, Port: 80, HostPort: uint16(20000 + i), HostPortEnd: uint16(20000 + i)}}
		}
		_, err := c.CreateSandbox(t.Context(), spec, true)
		return err
	})
}

// sideBySide does n things, some at a time.
func sideBySide(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for k := range clients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[k] == nil; i = int(next.Add(1)) - 1 {
				errs[k] = do(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// askers are sockets, one in each namespace.
type askers []net.Conn

func dialAll(t *testing.T, places []string) askers {
	t.Helper()
	all := make(askers, len(places))
	for i, p := range places {
		err := kerneltest.In(p, func() (err error) { all[i], err = net.Dial("udp", "127.0.0.11:53"); return err })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { all[i].Close() })
	}
	return all
}

// ask asks once, and reports whether the answer came in time.
func (a askers) ask(i int, within time.Duration) bool {
	q := new(dns.Msg).SetQuestion(fmt.Sprintf("s%d.", i), dns.TypeA)
	c := dns.Conn{Conn: a[i]}
	if c.SetDeadline(time.Now().Add(within)) != nil || c.WriteMsg(q) != nil {
		return false
	}
	for {
		r, err := c.ReadMsg()
		if err != nil {
			return false
		}
		if r.Id == q.Id {
			return len(r.Answer) > 0
		}
	}
}

// answered counts those who are answered.
func (a askers) answered() (n int) {
	for i := range a {
		if a.ask(i, 5*time.Second) {
			n++
		}
	}
	return n
}

// firstAnswers has some of them ask until they are answered, and returns how
// long after began the last was.
func (a askers) firstAnswers(t *testing.T, began time.Time) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	var wg sync.WaitGroup
	var last atomic.Int64
	for i := 0; i < len(a); i += 40 {
		wg.Go(func() {
			for !a.ask(i, hangs) { // refused while nobody is there
				select {
				case <-ctx.Done():
					t.Errorf("s%d is never answered", i)
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			took := int64(time.Since(began))
			for was := last.Load(); took > was && !last.CompareAndSwap(was, took); was = last.Load() {
			}
		})
	}
	wg.Wait()
	return time.Duration(last.Load()).Round(time.Millisecond)
}
