package e2e

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// inside runs a command in a container's namespace, as root of the host.
func (g *ground) inside(container string, command ...string) {
	g.T.Helper()
	g.a.MustRun("nsenter", append([]string{"--net=" + g.ns(container)}, command...)...)
}

func TestIsolatedNetwork(t *testing.T) {
	eachBridgeFilter(t, func(t *testing.T, g *ground) {
		g.create("alone", 0, append(gateways("isolated", "isolated"), "--internal", "-o", "com.docker.network.bridge.name=alone0")...)
		g.create("half", 1, append(gateways("isolated", "nat"), "--internal", "-o", "com.docker.network.bridge.name=half0")...)
		if got := g.a.MustRun("ip", "-o", "addr", "show", "dev", "alone0"); got != "" {
			t.Errorf("the bridge has an address: %s", got)
		}
		if got := g.a.MustRun("ip", "-o", "addr", "show", "dev", "half0"); strings.Contains(got, "inet ") || !strings.Contains(got, "fd00:20:1::1/64") {
			t.Errorf("of two families the bridge has %s", got)
		}
		g.serve("web", "--network", "alone")
		g.serve("db", "--network", "alone")
		g.serve("both", "--network", "half")
		if got := g.addr4("web").String(); got != "10.20.0.1" {
			t.Errorf("the first container has %s: nobody needs a gateway's address", got)
		}
		g.a.Serve("", 7000, "host")
		g.a.ServeUDP("", 7000, "host")
		g.create("near", 2)
		gateway := netip.MustParseAddr("10.20.2.1") // the host's too
		// Routes by hand, as root in there and out here could make them.
		for _, c := range []string{"web", "both"} {
			g.inside(c, "ip", "route", "add", g.a.Addr4.String(), "dev", "eth0")
			g.inside(c, "ip", "route", "add", gateway.String(), "dev", "eth0")
		}
		g.a.MustRun("ip", "route", "add", "10.20.0.0/24", "dev", "alone0")
		g.a.MustRun("ip", "route", "add", "10.20.1.0/24", "dev", "half0")
		g.ways(
			way{g.a, g.ns("web"), at(g.addr4("db"), 80), "db"},
			way{g.a, g.ns("web"), at(g.addr6("db"), 80), "db"},
			way{g.a, g.ns("web"), at(g.a.Addr4, 7000), ""},
			way{g.a, g.ns("both"), at(g.a.Addr4, 7000), ""},
			way{g.a, g.ns("web"), at(gateway, 7000), ""},
			way{g.a, g.ns("both"), at(gateway, 7000), ""},
			way{g.a, g.ns("both"), "[fd00:20:1::1]:7000", "host"},
		)
		g.serve("neighbour", "--network", "near")
		if got := g.heard("web", "both", "neighbour"); got != "neighbour" {
			t.Errorf("the host hears a broadcast of %s", got)
		}
		if got := g.a.Exec("web", "getent", "hosts", "db").Text(); !strings.Contains(got, "db") {
			t.Errorf("db is %q", got)
		}
		g.a.Refused([]string{"isolated", "internal"}, append(append([]string{"network", "create"}, gateways("isolated", "nat")...), "second")...)
	})
}

// heard has containers send a broadcast each, and returns whose the host hears
// first.
func (g *ground) heard(containers ...string) string {
	g.T.Helper()
	var host net.PacketConn
	err := g.a.NS.Do(func() (err error) { host, err = net.ListenPacket("udp4", ":7001"); return err })
	if err != nil {
		g.T.Fatal(err)
	}
	defer host.Close()
	eth0 := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var bound error
		err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), "eth0") })
		return errors.Join(err, bound)
	}}
	for _, from := range containers {
		err := kerneltest.In(g.ns(from), func() error {
			c, err := eth0.DialContext(g.T.Context(), "udp4", "255.255.255.255:7001")
			if err != nil {
				return err
			}
			_, err = c.Write([]byte(from))
			return errors.Join(err, c.Close())
		})
		if err != nil {
			g.T.Error(err)
		}
	}
	if err := host.SetReadDeadline(time.Now().Add(soon)); err != nil {
		g.T.Error(err)
	}
	b := make([]byte, 100)
	n, _, err := host.ReadFrom(b)
	if err != nil {
		g.T.Error(err)
	}
	return string(b[:n])
}

// TestGatewayThatIsNotTheHost has a router of somebody else's on the bridge.
func TestGatewayThatIsNotTheHost(t *testing.T) {
	eachBridgeFilter(t, func(t *testing.T, g *ground) {
		g.create("front", 0, "--gateway", "10.20.0.254", "-o", "com.docker.network.bridge.inhibit_ipv4=true", "-o", "com.docker.network.bridge.name=front0")
		router := g.Host("router")
		g.a.MustRun("ip", "link", "add", "port0", "type", "veth", "peer", "name", "eth0", "netns", router.NS.Path)
		g.a.MustRun("ip", "link", "set", "port0", "master", "front0", "up")
		router.MustRun("ip", "addr", "add", "10.20.0.254/24", "dev", "eth0")
		router.MustRun("ip", "link", "set", "eth0", "up")
		router.MustRun("ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
		router.Serve("", 7000, "router")
		router.ServeUDP("", 7000, "router")
		g.serve("web", "--network", "front")
		addr := func() string { return g.a.MustRun("ip", "-4", "-o", "addr", "show", "dev", "front0") }
		if got := addr(); got != "" {
			t.Errorf("the bridge has an address: %s", got)
		}
		seen := func(when string) {
			t.Helper()
			if got := g.a.Ask(g.ns("web"), "tcp", "203.0.113.1:7000"); got != "router "+g.addr4("web").String() {
				t.Errorf("%s, the container's gateway answers %q", when, got)
			}
		}
		seen("at first")
		if g.pings(g.a, g.addr4("web")) {
			t.Error("the host reaches a container without an address in its network")
		}
		if !g.pings(g.a, g.addr6("web")) {
			t.Error("the host does not reach it by IPv6")
		}
		// One that somebody gives the bridge is his own.
		g.a.MustRun("ip", "addr", "add", "10.20.0.9/24", "dev", "front0")
		g.a.Kill()
		g.a.Daemon()
		if got := addr(); !strings.Contains(got, "10.20.0.9/24") || strings.Contains(got, "10.20.0.254") {
			t.Errorf("after a start the bridge has %s", got)
		}
		g.ways(way{g.a, "", at(g.addr4("web"), 80), "web"}, way{g.a, "", at(netip.MustParseAddr("10.20.0.254"), 7000), "router"})
		seen("after a start")
		g.a.MustRun("ip", "link", "del", "port0")
	})
}
