package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/lab"
)

// carried are hosts of one network of the udp backend. The first is as usual. The
// second is behind a router, and the last has flanneld: both send from other
// addresses than they are reached at.
func carried(t *testing.T) *shared {
	t.Helper()
	s := &shared{Lab: lab.New(t), mtu: 1472}
	s.etcd = s.Host("etcd")
	router := s.Host("router")
	for _, name := range []string{"a", "behind", "theirs"} {
		s.nodes = append(s.nodes, s.Host(name))
	}
	a, behind, theirs := s.nodes[0], s.nodes[1], s.nodes[2]
	s.Switch([]*lab.Host{s.etcd, router, a, theirs}, "192.0.2.0/24", "2001:db8::/64")
	s.Join(router, behind, "198.51.100.0/24")
	behind.MustRun("ip", "route", "add", "default", "via", "198.51.100.1")
	router.MustRun("sysctl", "-qw", "net.ipv4.ip_forward=1")
	router.MustRun("ip", "addr", "add", "192.0.2.102/24", "dev", "eth0")
	s.translate(router, `table ip nat {
		chain in { type filter hook prerouting priority raw; ip daddr 192.0.2.102 udp dport 8285 ip daddr set 198.51.100.2 notrack; ip saddr 198.51.100.2 udp sport 8285 notrack; }
		chain out { type filter hook postrouting priority srcnat; ip saddr 198.51.100.2 udp sport 8285 ip saddr set 192.0.2.2; }
		chain rest { type nat hook postrouting priority srcnat; oif eth0 masquerade; }
	}`)
	// flanneld receives where its interface's address is, and sends from there.
	theirs.Addr4 = netip.MustParseAddr("192.0.2.104")
	theirs.MustRun("ip", "addr", "add", "192.0.2.104/32", "dev", "eth0")
	s.translate(theirs, `table ip elsewhere {
		chain in { type filter hook prerouting priority raw; ip daddr 192.0.2.104 udp dport 8285 ip daddr set 192.0.2.4; }
	}`)
	s.server = etcdserver.Start(t, etcdserver.Options{NS: s.etcd.NS.Path, Host: "192.0.2.1"})
	for _, h := range s.ours() {
		h.Daemon()
		more := []string{"-o", `write-config={"Network": "10.5.0.0/16", "EnableNFTables": true, "Backend": {"Type": "udp"}}`, "wide"}
		if h == behind {
			more = append([]string{"-o", "public-ip=192.0.2.102"}, more...)
		}
		h.Catenet(append(s.create(h), more...)...)
		s.attach(h, "box")
		h.Serve(s.ns(h, "box"), 80, h.Name)
		s.know(status(h, "box").Endpoints[0].IPv4.Addr(), netip.Addr{})
	}
	s.flanneld(t)
	return s
}

func (s *shared) translate(h *lab.Host, rules string) {
	s.T.Helper()
	if r := h.Feed(rules, "nft", "-f", "-"); r.Code != 0 {
		s.T.Fatal(r.Text())
	}
}

// TestHostsThatSendFromElsewhere reach the others, and are reached.
func TestHostsThatSendFromElsewhere(t *testing.T) {
	t.Parallel()
	s := carried(t)
	s.everyPair("sent from elsewhere")
	s.dead()
	s.counted()
}

// Numbered packets at 100 a second: how many of the first second's may be lost.
const (
	numbered = 100
	mayMiss  = 50
)

// dead: after a SIGKILL packets go on at once when the daemon is back, whether its
// device is still there or not; a port that somebody else has taken meanwhile is told
// of, with who it is.
func (s *shared) dead() {
	s.T.Helper()
	a := s.nodes[0]
	device := func() string {
		return a.Run("sh", "-c", "ip -o link show flannel0 | cut -d: -f1; ip -o -4 addr show flannel0 | awk '{print $4}'; ip route show dev flannel0").Stdout
	}
	was := device()
	if !strings.Contains(was, "10.5.0.0/16") {
		s.T.Errorf("the device is %s", was)
	}
	for _, harm := range []string{"true", "ip link del flannel0"} {
		a.Kill()
		a.MustRun("sh", "-c", harm)
		a.Daemon()
		out := a.Run("nsenter", "--net="+s.ns(a, "box"), "ping", "-n", "-q", "-i0.01", "-W2", fmt.Sprint("-c", numbered), s.boxes[1].String()).Stdout
		if got := received(out); got < numbered-mayMiss {
			s.T.Errorf("SIGKILL, %s, and a start: of the second after it %d packets arrived:\n%s", harm, got, out)
		}
		_, now, _ := strings.Cut(device(), "\n")
		if _, before, _ := strings.Cut(was, "\n"); now != before || harm == "true" && device() != was {
			s.T.Errorf("after SIGKILL, %s and a start the device is\n%s\nand was\n%s", harm, device(), was)
		}
	}
	a.Kill()
	a.ServeUDP("", 8285, "somebody")
	a.Daemon()
	s.Eventually(soon, func() string {
		if got := s.tells(a).Status.Trouble; !strings.Contains(got, "UDP port 8285 of "+a.Addr4.String()+" is taken by socat (process ") {
			return fmt.Sprintf("the port is taken, and inspect tells of %q", got)
		}
		return ""
	})
	a.MustRun("sh", "-c", "kill $(ss -Hlunp sport = 8285 | grep -o 'pid=[0-9]*' | cut -d= -f2)")
	s.everyPair("when the port is free again")
}

// received reads ping's summary.
func received(out string) (n int) {
	_, after, _ := strings.Cut(out, "transmitted, ")
	fmt.Sscan(after, &n)
	return n
}

// counted: inspect says what was dropped, and why.
func (s *shared) counted() {
	s.T.Helper()
	a := s.nodes[0]
	a.Run("nsenter", "--net="+s.ns(a, "box"), "ping", "-n", "-c1", "-W1", "10.5.255.255")
	var all []struct {
		Traffic struct {
			Datapath         string
			Carried, Dropped map[string]int
		}
	}
	a.Inspect(&all, "network", "inspect", "wide")
	got := all[0].Traffic
	if got.Datapath != "userspace" || got.Carried["packets sent"] == 0 || got.Carried["bytes received"] == 0 || got.Dropped["no host has the destination"] != 1 {
		s.T.Errorf("inspect tells of %+v", got)
	}
}
