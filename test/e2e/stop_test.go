package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestStopIsOrderlyAndLosesNothing ends the daemon as systemctl stop does with
// KillMode=process: SIGTERM for it, and nothing for those that it has started.
func TestStopIsOrderlyAndLosesNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), l.Host("out")}
	l.Join(g.a, g.out, "192.0.2.0/24", "2001:db8:1::/64")
	g.a.Via(g.out)
	notified := g.serviceManager()
	g.a.Daemon()
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	g.idle("near", "--network", "front")
	before := status(g.a, "web")
	ns, shim := g.ns("near"), parent(t, before.InitPID)
	// A terminal's SIGHUP and SIGINT go to a session and its groups.
	if session(t, shim) == session(t, g.a.DaemonPid()) {
		t.Error("the shim is in the daemon's session")
	}

	g.a.Stop()
	if code := g.a.DaemonCode(); code != 0 {
		t.Errorf("the daemon ends with %d", code)
	}
	if got := notified(); !slices.Equal(got, []string{"READY=1", "STOPPING=1"}) {
		t.Errorf("the service manager was told %q", got)
	}
	if _, err := os.Stat(g.a.Socket()); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if got := parent(t, before.InitPID); got != shim || parent(t, shim) == g.a.DaemonPid() {
		t.Errorf("the container's parent was shim %d, and is %d below %d", shim, got, parent(t, got))
	}
	g.answers(g.a, ns, "tcp", at(before.Endpoints[0].IPv4.Addr(), 80), "web")
	for _, to := range []string{at(g.a.Addr4, 8080), at(g.a.Addr6, 8080)} {
		g.answers(g.out, "", "tcp", to, "web")
	}
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")

	g.a.Daemon()
	if after := status(g.a, "web"); after.InitPID != before.InitPID || after.State != catenet.StateRunning {
		t.Errorf("web was %+v and is %+v", before, after)
	}
	if got := g.a.Exec("near", "dig", "+short", "web").Text(); got != g.addr4("web").String() {
		t.Errorf("web is %q", got)
	}
	g.answers(g.out, "", "tcp", at(g.a.Addr4, 8080), "web")
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")
	g.a.Refused([]string{"8080"}, "run", "-d", "-p", "8080:80", "--", "sleep", "60")
	g.a.Catenet("stop", "-t", "0", "web")
	if got := status(g.a, "web"); got.State != catenet.StateExited || got.ExitCode != 137 {
		t.Errorf("stopped by the second daemon, web is %s with %d", got.State, got.ExitCode)
	}
	g.silent(g.out, "", "tcp", at(g.a.Addr4, 8080))
}

// serviceManager has the next daemon of host a tell its state, and returns
// what reads all that was told so far.
func (g *ground) serviceManager() func() []string {
	path := filepath.Join(g.a.Dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		g.T.Fatal(err)
	}
	g.T.Cleanup(func() { l.Close() })
	g.a.DaemonEnv = []string{"NOTIFY_SOCKET=" + path}
	return func() (told []string) {
		if err := l.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			g.T.Fatal(err)
		}
		buf := make([]byte, 256)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return told // nothing more has come
			}
			if s := string(buf[:n]); !strings.HasPrefix(s, "STATUS=") { // of a start that takes long
				told = append(told, s)
			}
		}
	}
}

// parent and session are fields of proc_pid_stat(5), 0 of a process that is
// gone.
func parent(t *testing.T, pid int) int  { return stat(t, pid, 1) }
func session(t *testing.T, pid int) int { return stat(t, pid, 3) }

func stat(t *testing.T, pid, field int) (n int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	// The name, in brackets, may have anything in it.
	rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if _, err := fmt.Sscan(rest[field], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAStopOutlivesTheDaemon: whoever waits for a container's end is answered by
// the next one.
func TestAStopOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	g := &ground{l, l.Host("a"), nil}
	g.a.Daemon()
	g.a.Catenet("run", "-d", "--name", "deaf", "--", "sh", "-c", `trap "echo asked" TERM; while :; do sleep 0.05; done`)
	stopped := make(chan lab.Result, 1)
	go func() { stopped <- g.a.Try("stop", "-t", "3", "deaf") }()
	g.Eventually(soon, func() string {
		if got := g.a.Catenet("logs", "deaf"); !strings.Contains(got, "asked") {
			return "it is not asked to end: " + got
		}
		return ""
	})
	g.a.Kill()
	g.a.Daemon()
	if r := <-stopped; r.Code != 0 || r.Stdout != "deaf\n" {
		t.Errorf("exit status %d, %s", r.Code, r.Text())
	}
	if st := status(g.a, "deaf"); st.State != catenet.StateExited || st.ExitCode != 137 {
		t.Errorf("it is %s, with %d", st.State, st.ExitCode)
	}
}

// TestAPersonSeesWhatIsWaitedFor: on a terminal, and nothing of it is left;
// nobody else is told.
func TestAPersonSeesWhatIsWaitedFor(t *testing.T) {
	g := newGround(t)
	for _, name := range []string{"deaf", "deafer"} {
		g.a.Catenet("run", "-d", "--name", name, "--", "sh", "-c", "trap '' TERM; while :; do sleep 600; done")
	}
	if r := g.a.Try("stop", "-t", "2", "deafer"); r.Stderr != "" {
		t.Errorf("without a terminal: %q", r.Stderr)
	}
	term := g.a.Terminal([]string{"CATENET_HOST=" + g.a.Socket()}, filepath.Join(lab.Binaries(t), "catenet"), "stop", "-t", "3", "deafer", "deaf")
	if got := term.Wait(`(?s)(.*)deaf\r\n$`)[1]; !strings.Contains(got, "stopping deaf (2 of 2), 1 s\r\x1b[K") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the terminal shows %q", got)
	}
}
