package bridge

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/conformance"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// shy is a host and a network without icc; nf says whether bridged frames
// pass the IP firewall.
func shy(t *testing.T, nf int) (*lab, catenet.Network) {
	l := newLab(t)
	l.host.Run("sysctl", "-w", fmt.Sprintf("net.bridge.bridge-nf-call-iptables=%d", nf), fmt.Sprintf("net.bridge.bridge-nf-call-ip6tables=%d", nf))
	n := network(1, "shy", option(optICC, "false"), "10.51.0.0/24", "fd00:51::/64")
	if s := l.up(n); !s.Firewall[0].NoICC {
		t.Error("the firewall is not told")
	}
	return l, n
}

// Frames stop between isolated ports whether or not they pass the IP
// firewall: what one container sends another goes by way of the host, which has
// the last word.
func TestNoICC(t *testing.T) {
	for _, nf := range []int{0, 1} {
		t.Run(fmt.Sprintf("bridge-nf-call=%d", nf), func(t *testing.T) {
			l, n := shy(t, nf)
			a, b := l.join(n, 1), l.join(n, 2)
			for _, addr := range []string{"10.51.0.3", "fd00:51::3"} {
				if !reaches(a, addr) {
					t.Errorf("the host does not route to the other container, at %s", addr)
				}
			}
			l.host.Run("nft", `add table inet t; add chain inet t f { type filter hook forward priority 0; };
				add rule inet t f drop`)
			for _, addr := range []string{"10.51.0.1", "fd00:51::1"} {
				if !reaches(a, addr) {
					t.Errorf("the gateway %s is not reached", addr)
				}
			}
			for _, addr := range []string{"10.51.0.3", "fd00:51::3"} {
				if reaches(a, addr) {
					t.Errorf("the other container is reached at %s", addr)
				}
			}
			// Nor without the detour: nobody answers for the other's address.
			for _, ns := range []*kerneltest.NS{a, b} {
				ns.Run("ip", "route", "flush", "proto", "159")
				ns.Run("ip", "-6", "route", "flush", "proto", "159")
			}
			l.host.Run("nft", "delete", "table", "inet", "t")
			for _, addr := range []string{"10.51.0.3", "fd00:51::3"} {
				if reaches(a, addr) {
					t.Errorf("the bridge carries frames to the other container, at %s", addr)
				}
			}
		})
	}
}

// What is translated goes by way of the host, to another container and to the
// sender itself, at both values; and the bridge hears and learns as ever.
func TestNoICCByWayOfTheHost(t *testing.T) {
	for _, nf := range []int{0, 1} {
		t.Run(fmt.Sprintf("bridge-nf-call=%d", nf), func(t *testing.T) {
			l, n := shy(t, nf)
			l.host.Run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
			l.host.Run("ip", "addr", "add", "2001:db8::1/128", "dev", "lo")
			a, b := l.join(n, 1), l.join(n, 2)
			l.host.Run("nft", `add table inet t; add chain inet t pre { type nat hook prerouting priority -100; };
				add rule inet t pre ip daddr 192.0.2.1 dnat ip to 10.51.0.2;
				add rule inet t pre ip6 daddr 2001:db8::1 dnat ip6 to fd00:51::2;
				add chain inet t post { type nat hook postrouting priority 100; };
				add rule inet t post ct status dnat masquerade`)
			for who, from := range map[string]*kerneltest.NS{"another": b, "itself": a} {
				for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
					if !reaches(from, to) {
						t.Errorf("%s does not reach the container at %s", who, to)
					}
				}
			}
			if !l.hearsBroadcast(a) {
				t.Error("the host does not hear a broadcast")
			}
			l.learns(n, a)
			l.seesAdvertisement(n, a)
		})
	}
}

// hearsBroadcast sends as a DHCP client does and listens as a server.
func (l *lab) hearsBroadcast(from *kerneltest.NS) bool {
	var server, client net.PacketConn
	l.host.MustDo(func() (err error) { server, err = net.ListenPacket("udp4", ":67"); return err })
	from.MustDo(func() (err error) { client, err = net.ListenPacket("udp4", ":68"); return err })
	defer server.Close()
	defer client.Close()
	if _, err := client.WriteTo([]byte("discover"), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
		l.t.Error(err)
	}
	if err := server.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		l.t.Error(err)
	}
	buf := make([]byte, 100)
	got, _, err := server.ReadFrom(buf)
	return err == nil && string(buf[:got]) == "discover"
}

// learns fails unless frames for the bridge alone teach it where a container
// is: it would flood the others' ports with what is meant for this one.
func (l *lab) learns(n catenet.Network, from *kerneltest.NS) {
	ep, name := conformance.Endpoint(n, 1), bridgeName(n, options{})
	from.Run("ping", "-c1", "-W1", "10.51.0.1") // knows its neighbour now
	l.host.Run("bridge", "fdb", "del", ep.MAC, "dev", driver.HostLinkName(ep.ID), "master")
	from.Run("ping", "-c1", "-W1", "10.51.0.1")
	if out := l.host.Run("bridge", "fdb", "show", "br", name); !strings.Contains(out, ep.MAC) {
		l.t.Errorf("the bridge does not learn %s: %s", ep.MAC, out)
	}
}

// seesAdvertisement fails unless a rule like the firewall's finds a router
// advertisement that is sent to the bridge's own address.
func (l *lab) seesAdvertisement(n catenet.Network, from *kerneltest.NS) {
	l.host.Run("nft", `add table bridge t; add chain bridge t in { type filter hook input priority -200; };
		add rule bridge t in meta protocol ip6 meta l4proto 58 icmpv6 type 134 iifname "ctn*" counter drop`)
	var c *icmp.PacketConn
	from.MustDo(func() (err error) { c, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err })
	defer c.Close()
	msg, err := (&icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement,
		Body: &icmp.RawBody{Data: make([]byte, 12)}}).Marshal(nil)
	if err == nil {
		_, err = c.IPv6PacketConn().WriteTo(msg, &ipv6.ControlMessage{HopLimit: 255}, &net.IPAddr{IP: net.ParseIP("fd00:51::1")})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	for end := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		out := l.host.Run("nft", "list", "table", "bridge", "t")
		if strings.Contains(out, "packets 1 ") {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("the rule of the bridge does not see it: %s", out)
		}
	}
}
