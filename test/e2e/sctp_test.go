package e2e

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/test/vm"
)

// TestSCTP publishes ports on the kernel that has SCTP.
func TestSCTP(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, guest(t, "sctp")) {
		return
	}
	t.Run("published", testSCTPPublished)
	t.Run("held", testSCTPHeld)
	t.Run("lasts", testSCTPLasts)
}

// serveSCTP runs a container that answers associations to port 5000 with its
// name and the client's address, and then with what it is told.
func (g *ground) serveSCTP(name string, flags ...string) {
	g.T.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	g.a.Catenet(append(args, "--", "socat", "SCTP6-LISTEN:5000,ipv6only=0,fork", fmt.Sprintf("SYSTEM:echo %s $SOCAT_PEERADDR; cat", name))...)
	g.Eventually(soon, func() string {
		if g.a.Ask(g.ns(name), "sctp", "127.0.0.1:5000") == "" {
			return name + " does not serve: " + g.a.Try("logs", name).Text()
		}
		return ""
	})
}

func testSCTPPublished(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.a.Catenet("network", "create", "--ipv6", "back")
	g.serveSCTP("web", "--network", "front", "-p", "5001:5000/sctp")
	g.idle("near", "--network", "front")
	g.idle("far", "--network", "back")
	hosts := []string{at(g.a.Addr4, 5001), at(g.a.Addr6, 5001)}
	for _, to := range hosts {
		g.answers(g.out, "", "sctp", to, "web")
		g.answers(g.a, "", "sctp", to, "web")
		for _, from := range []string{"near", "far", "web"} {
			g.answers(g.a, g.ns(from), "sctp", to, "web")
		}
	}
	// The outside is seen as it is, not hidden behind the host.
	if got := g.out.Ask("", "sctp", hosts[0]); got != "web "+g.out.Addr4.String() {
		t.Errorf("the container saw %q, want the client's own address %s", got, g.out.Addr4)
	}
	want := "5000/sctp -> 0.0.0.0:5001\n5000/sctp -> [::]:5001"
	if got := g.a.Catenet("port", "web"); got != want {
		t.Errorf("catenet port prints\n%s\nwant\n%s", got, want)
	}
	// It is the port of this protocol only.
	g.out.MustRun("ip", "route", "add", g.addr4("web").String(), "via", g.a.Addr4.String())
	g.silent(g.out, "", "sctp", at(g.addr4("web"), 5000))
	g.silent(g.out, "", "tcp", hosts[0])

	g.a.Catenet("rm", "-f", "web")
	for _, to := range hosts {
		g.silent(g.out, "", "sctp", to)
		g.silent(g.a, "", "sctp", to)
	}
}

func testSCTPHeld(t *testing.T) {
	g := newGround(t)
	g.idle("web", "-p", "5001:5000/sctp", "-p", "5002-5003:5000/sctp")
	g.a.Refused([]string{"5001", "taken"}, "run", "-d", "-p", "5001:5000/sctp", "--", "sleep", "60")
	if r := g.a.Run("timeout", "2", "socat", "SCTP-LISTEN:5001", "-"); !strings.Contains(r.Text(), "in use") {
		t.Errorf("a program of the host could take a published port: %s", r.Text())
	}
	g.idle("second", "-p", "5002-5003:5000/sctp", "-p", "5001:5000/tcp")
	g.a.Refused([]string{"5002", "5003", "taken"}, "run", "-d", "-p", "5002-5003:5000/sctp", "--", "sleep", "60")
	g.a.ServeSCTP("", 9000, "other")
	g.a.Refused([]string{"9000", "taken"}, "run", "-d", "-p", "9000:5000/sctp", "--", "sleep", "60")
	// Held again by the next daemon, and free once it is given up.
	g.a.Kill()
	g.a.Daemon()
	g.a.Refused([]string{"5001", "taken"}, "run", "-d", "-p", "5001:5000/sctp", "--", "sleep", "60")
	g.a.Catenet("rm", "-f", "web")
	g.serveSCTP("third", "-p", "5001:5000/sctp")
	g.answers(g.out, "", "sctp", at(g.a.Addr4, 5001), "third")
}

// testSCTPLasts has the host's own programs, whose socket has all of the host's
// addresses, associated for long enough that each of them is tried.
func testSCTPLasts(t *testing.T) {
	g := newGround(t)
	g.a.MustRun("ip", "addr", "add", "198.51.100.9/24", "dev", "eth0")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serveSCTP("web", "--network", "front", "-p", "5001:5000/sctp")
	// All but data and its confirmations (types 0 and 3).
	control := g.a.Start("nsenter", "--net="+g.ns("web"), "--", "tcpdump", "--immediate-mode", "-nli", "eth0",
		"(sctp[12] != 0 and sctp[12] != 3) or (ip6[6] == 132 and ip6[52] != 0 and ip6[52] != 3)")
	g.Eventually(soon, func() string { return absent(control.Output(), "listening on") })
	for _, to := range []string{at(g.a.Addr4, 5001), at(g.a.Addr6, 5001)} {
		tried := strings.Count(control.Output(), "HB REQ")
		c, err := g.a.Connect("", "sctp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		answers := bufio.NewReader(c)
		echo := func() error {
			if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
				return err
			}
			if _, err := c.Write([]byte("more\n")); err != nil {
				return err
			}
			_, err := answers.ReadString('\n')
			return err
		}
		// What it tries first it tries within seconds, where there is traffic.
		g.Eventually(3*soon, func() string {
			if err := echo(); err != nil {
				t.Fatalf("the association to %s has ended: %v\n%s", to, err, control.Output())
			}
			if strings.Count(control.Output(), "HB REQ") < tried+2 {
				return "the container has hardly tried the other addresses of the client: this test proves nothing"
			}
			return ""
		})
		for range 5 { // an ABORT that the heartbeat drew would have ended it
			if err := echo(); err != nil {
				t.Fatalf("the association to %s has ended: %v\n%s", to, err, control.Output())
			}
		}
	}
}

// absent says that what is to be in a text is not.
func absent(text, want string) string {
	if strings.Contains(text, want) {
		return ""
	}
	return fmt.Sprintf("%q does not say %q", text, want)
}

// TestSCTPOnLoopbackIsRefused, on any kernel, before anything is made.
func TestSCTPOnLoopbackIsRefused(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	for _, ip := range []string{"127.0.0.1", "[::1]"} {
		g.a.Refused([]string{"5000/sctp", "loopback", "address of the host"}, "run", "-d", "--network", "front", "-p", ip+":5001:5000/sctp", "--", "sleep", "60")
	}
	g.a.Catenet("network", "rm", "front") // nobody is in it
}
