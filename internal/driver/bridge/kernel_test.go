package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/conformance"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// lab is a host on the real kernel.
type lab struct {
	t    *testing.T
	host *kerneltest.NS
	h    *link.Host
}

func newLab(t *testing.T) *lab {
	t.Parallel()
	l := &lab{t: t, host: kerneltest.New(t)}
	err := l.host.Do(func() (err error) { l.h, err = link.Open(nil, nil); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.h.Close() })
	return l
}

func (l *lab) up(n catenet.Network) driver.State {
	l.t.Helper()
	s, err := New().Up(l.t.Context(), l.h, n)
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// join gives a new container the i-th endpoint of the network.
func (l *lab) join(n catenet.Network, i int, options ...string) *kerneltest.NS {
	l.t.Helper()
	ctr := kerneltest.New(l.t)
	ns, err := netns.New().Open(ctr.Path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer ns.Close()
	ep := conformance.Endpoint(n, i)
	if len(options) > 0 {
		ep.Spec.Options = map[string]string{"com.docker.network.endpoint.sysctls": strings.Join(options, ",")}
	}
	a, err := New().Link(l.t.Context(), l.h, n, ep, driver.Place{NS: ns})
	if err == nil {
		err = l.h.Dress(l.t.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{a.Interface}})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return ctr
}

// reaches tells whether from gets an answer. On a busy machine a port may not
// forward yet when the first packet comes (carrier is told by a work queue), and
// a lost ARP request is sent again after a second only.
func reaches(from *kerneltest.NS, addr string) bool {
	_, err := from.Try("ping", "-c3", "-i0.2", "-W1", addr)
	return err == nil
}

func TestContainersReachEachOther(t *testing.T) {
	for _, n := range []catenet.Network{
		network(1, "v4", nil, "10.51.0.0/24"),
		network(2, "v6", nil, "fd00:52::/64"),
		network(3, "dual", nil, "10.53.0.0/24", "fd00:53::/64"),
	} {
		t.Run(n.Name, func(t *testing.T) {
			l := newLab(t)
			l.up(n)
			a, _ := l.join(n, 1), l.join(n, 2)
			for _, p := range n.Pools {
				for _, to := range []string{p.Gateway.String(), p.Gateway.Next().Next().String()} {
					if !reaches(a, to) {
						t.Errorf("%s is not reached", to)
					}
				}
			}
			if out := a.Run("ip", "-6", "addr"); !n.IPv6 && strings.Contains(out, "fe80") {
				t.Errorf("IPv6 is not off:\n%s", out)
			}
			for _, where := range []*kerneltest.NS{a, l.host} {
				out := where.Run("sh", "-c", "cd /proc/sys/net/ipv6/conf; for i in eth* br-* ctn*; do [ ! -d $i ] || echo $i $(cat $i/accept_ra $i/disable_ipv6); done")
				if out == "" || strings.Contains(out, " 1 0\n") {
					t.Errorf("router advertisements are accepted (1 0):\n%s", out)
				}
			}
		})
	}
}

// A container reaches its own published port at both values of br_netfilter:
// at 1 its frame leaves by the port it came from.
func TestHairpin(t *testing.T) {
	for _, nf := range []int{0, 1} {
		t.Run(fmt.Sprintf("bridge-nf-call=%d", nf), func(t *testing.T) {
			l := newLab(t)
			l.host.Run("sysctl", "-w", fmt.Sprintf("net.bridge.bridge-nf-call-iptables=%d", nf))
			l.host.Run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
			n := network(1, "v4", nil, "10.51.0.0/24", "fd00:51::/64")
			l.up(n)
			a := l.join(n, 1)
			l.host.Run("nft", `add table ip t; add chain ip t pre { type nat hook prerouting priority -100; };
				add rule ip t pre ip daddr 192.0.2.1 dnat to 10.51.0.2;
				add chain ip t post { type nat hook postrouting priority 100; };
				add rule ip t post ct status dnat masquerade`)
			if !reaches(a, "192.0.2.1") {
				t.Error("the container does not reach itself by the host's address")
			}
			// A port that reflects must not make IPv6 find duplicates.
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				out := a.Run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link")
				if strings.Contains(out, "dadfailed") || time.Now().After(end) {
					t.Errorf("duplicate address detection: %s", out)
				} else if !strings.Contains(out, "fe80") || strings.Contains(out, "tentative") {
					continue
				}
				break
			}
			// Why it is on: without it, this fails where bridged frames pass
			// the IP firewall, and only there.
			l.host.Run("bridge", "link", "set", "dev", driver.HostLinkName(conformance.Endpoint(n, 1).ID), "hairpin", "off")
			if reaches(a, "192.0.2.1") != (nf == 0) {
				t.Errorf("hairpin off makes no difference")
			}
		})
	}
}

func TestMTU(t *testing.T) {
	l := newLab(t)
	up := kerneltest.New(t)
	kerneltest.Connect(l.host, "wan", "192.0.2.2/24", up, "e0", "")
	l.host.Run("ip", "link", "set", "wan", "mtu", "1420")
	l.host.Run("ip", "route", "add", "default", "via", "192.0.2.1")
	hosts, asked := network(1, "hosts", nil, "10.51.0.0/24"), network(2, "asked", option(catenet.OptionMTUShort, "9000"), "10.52.0.0/24")
	for n, want := range map[*catenet.Network]string{&hosts: "mtu 1420 ", &asked: "mtu 9000 "} {
		l.up(*n)
		ctr := l.join(*n, 1)
		for _, out := range []string{ctr.Run("ip", "link", "show", "eth0"), l.host.Run("ip", "link", "show", bridgeName(*n, options{})),
			l.host.Run("ip", "link", "show", driver.HostLinkName(conformance.Endpoint(*n, 1).ID))} {
			if !strings.Contains(out, want) {
				t.Errorf("network %s, want %s:\n%s", n.Name, want, out)
			}
		}
	}
}

func TestNames(t *testing.T) {
	l := newLab(t)
	for want, n := range map[string]catenet.Network{
		"br-a1a1a1a1a1a1": network(1, "plain", nil, "10.51.0.0/24"),
		"lab0":            network(2, "named", option(catenet.OptionBridge, "lab0"), "10.52.0.0/24"),
		"catenet0":        network(3, "bridge", func(n *catenet.Network) { n.Predefined = true }, "10.53.0.0/24"),
	} {
		if s := l.up(n); s.Firewall[0].Link != want {
			t.Errorf("the bridge of %s is called %s", n.Name, s.Firewall[0].Link)
		}
		l.host.Run("ip", "link", "show", "dev", want, "type", "bridge")
	}
}

// A bridge of somebody else's is neither taken nor removed, be he a stranger
// or another network.
func TestNameOfAnothersBridge(t *testing.T) {
	l := newLab(t)
	l.host.Run("ip", "link", "add", "lab0", "type", "bridge")
	first := network(1, "first", option(catenet.OptionBridge, "lab1"), "10.51.0.0/24")
	l.up(first)
	for _, name := range []string{"lab0", "lab1"} {
		n := network(2, "second", option(catenet.OptionBridge, name), "10.52.0.0/24")
		if _, err := New().Up(t.Context(), l.h, n); !catenet.IsConflict(err) || catenet.HintOf(err) == "" {
			t.Errorf("%s: %v, want a conflict with a hint", name, err)
		}
		if err := New().Down(t.Context(), l.h, n); err != nil {
			t.Error(err)
		}
		l.host.Run("ip", "link", "show", "dev", name)
	}
	if out := l.host.Run("ip", "-o", "addr", "show", "dev", "lab0"); strings.Contains(out, "10.52") {
		t.Errorf("the stranger's bridge was given an address: %s", out)
	}
}

func TestSysctls(t *testing.T) {
	l := newLab(t)
	n := network(1, "v4", nil, "10.51.0.0/24")
	l.up(n)
	ctr := l.join(n, 1, "net.ipv4.conf.IFNAME.log_martians=1", "net.ipv4.neigh.IFNAME.gc_stale_time=77")
	if got := ctr.Run("sysctl", "-n", "net.ipv4.conf.eth0.log_martians", "net.ipv4.neigh.eth0.gc_stale_time"); got != "1\n77\n" {
		t.Errorf("sysctls: %s", got)
	}
}

func TestFirewallIntents(t *testing.T) {
	l := newLab(t)
	inside := network(1, "inside", func(n *catenet.Network) { n.Internal = true }, "10.51.0.0/24")
	if f := l.up(inside).Firewall[0]; !f.Internal || f.V4.Masquerade || f.V6.Masquerade {
		t.Errorf("an internal network: %+v", f)
	}
	routed := network(2, "routed", option(optMasquerade, "false"), "10.52.0.0/24", "fd00:52::/64")
	if f := l.up(routed).Firewall[0]; f.V4.Masquerade || f.V6.Masquerade || len(f.Subnets) != 2 || f.ID != routed.ID {
		t.Errorf("without masquerading: %+v", f)
	}
	plain := network(3, "plain", nil, "10.53.0.0/24", "fd00:53::/64")
	if f := l.up(plain).Firewall[0]; !f.V4.Masquerade || !f.V6.Masquerade || f.NoICC || f.Internal {
		t.Errorf("a plain network: %+v", f)
	}
	if got := l.host.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); got != "1\n1\n" {
		t.Errorf("forwarding: %s", got)
	}
}

// The host routes where something has to go by way of it: outside, or between
// containers without icc; and not for what stays on one bridge.
func TestTheHostRoutesWhereItHasTo(t *testing.T) {
	internal := func(n *catenet.Network) { n.Internal = true }
	for _, c := range []struct {
		n    catenet.Network
		want string
	}{
		{network(1, "inside", internal, "10.51.0.0/24", "fd00:51::/64"), "0\n0\n"},
		{network(2, "shy", func(n *catenet.Network) { internal(n); option(optICC, "false")(n) }, "10.52.0.0/24", "fd00:52::/64"), "1\n1\n"},
		{network(3, "four", nil, "10.53.0.0/24"), "1\n0\n"},
		{network(4, "six", nil, "fd00:54::/64"), "0\n1\n"},
	} {
		t.Run(c.n.Name, func(t *testing.T) {
			l := newLab(t)
			l.host.Run("sysctl", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
			l.up(c.n)
			if got := l.host.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); got != c.want {
				t.Errorf("forwarding is %q, want %q", got, c.want)
			}
		})
	}
}

// The bridge keeps its address when ports come and go, or the containers'
// neighbour entries would be wrong.
func TestBridgeKeepsItsMAC(t *testing.T) {
	l := newLab(t)
	n := network(1, "v4", nil, "10.51.0.0/24")
	l.up(n)
	l.join(n, 1)
	if out := l.host.Run("ip", "link", "show", "br-a1a1a1a1a1a1"); !strings.Contains(out, bridgeMAC(n.ID).String()) {
		t.Errorf("want %s:\n%s", bridgeMAC(n.ID), out)
	}
}
