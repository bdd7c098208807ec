package e2e

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

func TestNetworkAndEndpointOptions(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "-o", "com.docker.network.driver.mtu=1400",
		"-o", "com.docker.network.bridge.name=brtest0", "-o", "com.docker.network.container_iface_prefix=net",
		"-o", "com.docker.network.bridge.host_binding_ipv4=192.0.2.1", "--label", "tier=front", "front")
	g.serve("web", "--network", "front:mac=02:00:00:00:00:05,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1", "-p", "8080:80")

	ep := g.endpoint("web")
	if ep.Interface != "net0" || ep.MAC != "02:00:00:00:00:05" {
		t.Errorf("endpoint %+v", ep)
	}
	if !netip.MustParsePrefix("fd00::/8").Contains(ep.IPv6.Addr()) || ep.IPv6.Bits() != 64 {
		t.Errorf("unasked IPv6 address %s, want one of a ULA /64", ep.IPv6)
	}
	inside := g.a.Exec("web", "sh", "-c", "ip link show net0; cat /proc/sys/net/ipv4/conf/net0/log_martians /proc/sys/net/ipv6/conf/net0/accept_ra").Text()
	for _, want := range []string{"mtu 1400", "02:00:00:00:00:05", "\n1\n0"} {
		if !strings.Contains(inside, want) {
			t.Errorf("inside there is no %q:\n%s", want, inside)
		}
	}
	if link := g.a.MustRun("ip", "link", "show", "brtest0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("bridge: %s", link)
	}
	// The network's own host address is the default of -p.
	g.answers(g.out, "", "tcp", "192.0.2.1:8080", "web")
	g.silent(g.a, "", "tcp", "127.0.0.1:8080")

	g.idle("named", "--network", "front:interface_name=lan7")
	if got := g.a.Exec("named", "ip", "-br", "link", "show", "lan7").Text(); !strings.Contains(got, "lan7") {
		t.Errorf("interface lan7: %s", got)
	}
	g.a.Refused([]string{"brtest0 is that of another network", "choose another name"}, "network", "create", "-o", "com.docker.network.bridge.name=brtest0", "second")
	g.a.Refused([]string{"gateway_mode_ipv4", "isolated"}, "network", "create", "-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated", "second")
}

func TestConnectTakesTheOptionsOfRun(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("network", "create", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "--ipv6", "back")
	g.idle("web", "--network", "front")
	g.idle("near", "--network", "back")
	g.a.Catenet("network", "connect", "--ip", "10.7.0.99", "--ip6", "fd07::99", "--mac-address", "02:00:00:00:00:07", "--alias", "visitor",
		"--interface-name", "lan0", "--driver-opt", "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1", "back", "web")
	inside := g.a.Exec("web", "sh", "-c", "ip addr show lan0; cat /proc/sys/net/ipv4/conf/lan0/log_martians /proc/sys/net/ipv4/conf/eth0/log_martians").Text()
	for _, want := range []string{"link/ether 02:00:00:00:00:07", "inet 10.7.0.99/24", "inet6 fd07::99/64", "\n1\n0"} {
		if !strings.Contains(inside, want) {
			t.Errorf("inside there is no %q:\n%s", want, inside)
		}
	}
	for typ, want := range map[string]string{"A": "10.7.0.99", "AAAA": "fd07::99"} {
		if got := g.a.Exec("near", "dig", "+short", "visitor", typ).Text(); got != want {
			t.Errorf("%s of its alias is %q, want %s", typ, got, want)
		}
	}
	if got := g.a.Exec("near", "ping", "-c1", "-W2", "fd07::99").Text(); !strings.Contains(got, " 0% packet loss") {
		t.Error(got)
	}
	// They are kept for the next start.
	g.a.Catenet("stop", "-t", "0", "web")
	g.a.Catenet("start", "web")
	if again := g.a.Exec("web", "ip", "addr", "show", "lan0").Text(); !strings.Contains(again, "02:00:00:00:00:07") || !strings.Contains(again, "10.7.0.99/24") {
		t.Errorf("after a start lan0 is\n%s", again)
	}
	g.a.Refused([]string{"sysctls"}, "network", "connect", "--driver-opt", "com.docker.network.endpoint.sysctls=kernel.panic=1", "front", "near")
	g.a.Refused([]string{"colour"}, "network", "connect", "--driver-opt", "colour=red", "front", "near")
}

func TestIPv6OnlyNetwork(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv4=false", "--ipv6", "six")
	g.serve("web", "--network", "six", "-p", "8080:80")
	g.idle("other", "--network", "six")
	if ep := g.endpoint("web"); ep.IPv4.IsValid() || !ep.IPv6.IsValid() {
		t.Errorf("endpoint %+v", ep)
	}
	if got := g.a.Exec("other", "getent", "ahosts", "web").Text(); !strings.Contains(got, g.addr6("web").String()) {
		t.Errorf("web is %q", got)
	}
	g.answers(g.a, g.ns("other"), "tcp", at(g.addr6("web"), 80), "web")
	g.answers(g.out, "", "tcp", at(g.a.Addr6, 8080), "web")
	g.answers(g.a, "", "tcp", "[::1]:8080", "web")
}

func TestSCTPPortIsServedOrItsLackNamed(t *testing.T) {
	g := newGround(t)
	out := g.a.Try("run", "-d", "--name", "web", "-p", "9999:9999/sctp", "-p", "8080:80", "--", "sleep", "600").Text()
	rules := g.a.MustRun("nft", "list", "ruleset")
	if !strings.Contains(rules, "sctp . 9999") {
		t.Errorf("no rule for the SCTP port:\n%s", rules)
	}
	if _, err := os.Stat("/proc/net/sctp"); err != nil && !strings.Contains(out, "9999/sctp") {
		t.Errorf("this kernel has no SCTP sockets, and nobody says that the port is not held: %s", out)
	}
}

func TestEventsTellWhatHappens(t *testing.T) {
	g := newGround(t)
	log := g.a.Dir + "/events"
	events := g.a.Start("sh", "-c", "exec "+filepath.Join(lab.Binaries(t), "catenet")+" -H unix://"+g.a.Socket()+" events --format json >"+log+" 2>&1")
	g.Eventually(soon, func() string {
		g.a.Try("network", "create", "first")
		g.a.Try("network", "rm", "first")
		if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), "destroy") {
			return "no event yet: " + string(b)
		}
		return ""
	})
	g.a.Catenet("network", "create", "front")
	g.a.Catenet("run", "-d", "--name", "web", "--network", "front", "--", "sleep", "600")
	g.a.Catenet("network", "connect", "bridge", "web")
	g.a.Catenet("network", "disconnect", "front", "web")
	g.a.Catenet("rm", "-f", "web")
	g.a.Catenet("network", "prune", "-f")
	var got []string
	g.Eventually(soon, func() string {
		b, err := os.ReadFile(log)
		if err != nil {
			return err.Error()
		}
		got = nil
		for line := range strings.Lines(string(b)) {
			var ev catenet.Event
			if err := json.Unmarshal([]byte(line), &ev); err != nil {
				return err.Error()
			}
			if ev.Attributes["name"] != "first" {
				got = append(got, ev.Type+" "+ev.Action+" "+ev.Attributes["name"])
			}
		}
		if got[len(got)-1] != "network prune " {
			return "the last event is missing"
		}
		return ""
	})
	want := []string{"network create front", "sandbox create web", "network connect front", "sandbox start web", "network connect bridge",
		"network disconnect front", "network disconnect bridge", "sandbox die web", "sandbox destroy web", "network destroy front", "network prune "}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	events.Signal(syscall.SIGTERM)
}

func TestProxyWhereThereIsNoEBPF(t *testing.T) {
	g := newGround(t, "--loopback", "proxy")
	g.serve("web", "-p", "8080:80", "-p", "127.0.0.1:8081:80")
	if info := g.a.Catenet("info"); !strings.Contains(info, "proxy") {
		t.Errorf("info does not name the proxy:\n%s", info)
	}
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")
	g.answers(g.a, "", "tcp", "127.0.0.1:8081", "web")
	g.a.Kill()
	g.a.Daemon("--loopback", "proxy")
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")
}

func TestMetricsAreServed(t *testing.T) {
	g := newGround(t, "--metrics", "127.0.0.1:9123")
	g.idle("web")
	got := g.a.MustRun("curl", "-s", "-m", "5", "http://127.0.0.1:9123/metrics")
	if !strings.Contains(got, `catenet_things{thing="running"} 1`) {
		t.Errorf("metrics:\n%s", got)
	}
	g.a.Stop()
	g.a.Daemon() // without the socket, which the ledger would count
}

func TestAnAddressIsRefusedByNameOfItsOwner(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--subnet", "10.7.0.0/24", "front")
	g.idle("web", "--network", "front:ip=10.7.0.9")
	g.a.Refused([]string{"10.7.0.9", "web"}, "run", "-d", "--network", "front:ip=10.7.0.9", "--", "sleep", "600")
}
