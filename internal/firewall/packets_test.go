package firewall

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestPackets sends real ones, with and without bridged packets passing the
// IP tables.
func TestPackets(t *testing.T) {
	for _, brNetfilter := range []int{0, 1} {
		t.Run(fmt.Sprintf("bridge-nf-call-iptables=%d", brNetfilter), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brNetfilter, nft.Options{})
			must(t, w.f.Restore(t.Context(), []Network{front, back, inner}, nil))
			must(t, w.f.Apply(t.Context(), Change{AddPorts: []Port{
				publish(catenet.TCP, "0.0.0.0:8080", "172.18.0.2:80", front.ID),
				publish(catenet.TCP, "[::]:8080", "[fd00:18::2]:80", front.ID),
				publish(catenet.UDP, "0.0.0.0:8080", "172.18.0.2:80", front.ID),
				publish(catenet.TCP, "192.0.2.1:9090", "172.18.0.2:80", front.ID),
				publish(catenet.TCP, "198.51.100.1:9191", "172.18.0.2:80", front.ID),
				publish(catenet.TCP, "0.0.0.0:7070", "172.19.0.2:80", back.ID),
				publish(catenet.TCP, "0.0.0.0:6060", "172.20.0.2:80", inner.ID),
			}}))
			for _, network := range []string{"tcp", "udp"} {
				serve(t, w.a, network, ":80")
				serve(t, w.outside, network, ":80")
			}
			serve(t, w.b, "tcp", ":80")
			serve(t, w.c, "tcp", ":80")
			serve(t, w.i, "tcp", ":80")
			serve(t, w.host, "tcp", ":22")

			t.Run("published", func(t *testing.T) {
				for _, network := range []string{"tcp", "udp"} {
					reaches(t, "outside", w.outside, network, "192.0.2.1:8080", "192.0.2.2")
					reaches(t, "another network", w.c, network, "192.0.2.1:8080", "172.19.0.2")
					reaches(t, "its own network", w.b, network, "192.0.2.1:8080", "172.18.0.1")
					reaches(t, "itself", w.a, network, "192.0.2.1:8080", "172.18.0.1")
					reaches(t, "itself by the gateway", w.a, network, "172.18.0.1:8080", "172.18.0.1")
					reaches(t, "the host", w.host, network, "192.0.2.1:8080", "")
				}
				reaches(t, "outside", w.outside, "tcp", "[2001:db8::1]:8080", "2001:db8::2")
				reaches(t, "its own network", w.b, "tcp", "[2001:db8::1]:8080", "fd00:18::1")
				reaches(t, "itself", w.a, "tcp", "[2001:db8::1]:8080", "fd00:18::1")
				reaches(t, "outside", w.outside, "tcp", "192.0.2.1:9090", "192.0.2.2")
				reaches(t, "outside, to a network without icc", w.outside, "tcp", "192.0.2.1:7070", "192.0.2.2")
				reaches(t, "another network, by that one's gateway", w.c, "tcp", "172.18.0.1:8080", "172.19.0.2")
			})
			t.Run("not published", func(t *testing.T) {
				w.outside.Run("ip", "route", "add", "172.16.0.0/12", "via", "192.0.2.1")
				w.outside.Run("ip", "route", "add", "fd00::/16", "via", "2001:db8::1")
				w.outside.Run("ip", "route", "add", "198.51.100.1", "via", "192.0.2.1")
				cutOff(t, "outside", w.outside, "tcp", "172.18.0.2:80")
				cutOff(t, "outside", w.outside, "udp", "172.18.0.2:80")
				cutOff(t, "outside", w.outside, "tcp", "[fd00:18::2]:80")
				cutOff(t, "outside, a published port by the container's address", w.outside, "tcp", "172.18.0.2:8080")
				if _, err := reach(w.outside, "tcp", "198.51.100.1:9191"); err == nil {
					t.Error("a port is published on an address that is not the host's")
				}
				cutOff(t, "another network", w.c, "tcp", "172.18.0.2:80")
				cutOff(t, "another network", w.a, "tcp", "172.19.0.2:80")
			})
			t.Run("before any translation", func(t *testing.T) {
				// Somebody else's rule, which does not ask what the packet
				// was sent to.
				for _, cmd := range []string{
					"add table inet theirs",
					"add chain inet theirs pre { type nat hook prerouting priority -105; }",
					"add rule inet theirs pre meta nfproto ipv4 tcp dport 8181 dnat ip to 172.18.0.3:80",
					"add rule inet theirs pre meta nfproto ipv6 tcp dport 8181 dnat ip6 to [fd00:18::3]:80",
				} {
					w.host.Run("nft", cmd)
				}
				reaches(t, "outside, by the host's address", w.outside, "tcp", "192.0.2.1:8181", "192.0.2.2")
				reaches(t, "outside, by the host's address", w.outside, "tcp", "[2001:db8::1]:8181", "2001:db8::2")
				cutOff(t, "outside, by a container's address", w.outside, "tcp", "172.18.0.2:8181")
				cutOff(t, "outside, by a container's address", w.outside, "tcp", "[fd00:18::2]:8181")
				w.host.Run("nft", "delete", "table", "inet", "theirs")
			})
			t.Run("inside", func(t *testing.T) {
				reaches(t, "its own network", w.b, "tcp", "172.18.0.2:80", "172.18.0.3")
				reaches(t, "its own network", w.b, "tcp", "[fd00:18::2]:80", "fd00:18::3")
				reaches(t, "its own internal network", w.j, "tcp", "172.20.0.2:80", "172.20.0.3")
				reaches(t, "the host", w.host, "tcp", "172.18.0.2:80", "172.18.0.1")
				reaches(t, "a container, to the host", w.a, "tcp", "192.0.2.1:22", "172.18.0.2")
				if _, err := reach(w.d, "tcp", "172.19.0.2:80"); err == nil {
					t.Error("containers of a network without icc reach each other")
				}
			})
			t.Run("outwards", func(t *testing.T) {
				for _, network := range []string{"tcp", "udp"} {
					reaches(t, "a container", w.a, network, "192.0.2.2:80", "192.0.2.1")
				}
				reaches(t, "a container", w.a, "tcp", "[2001:db8::2]:80", "2001:db8::1")
				reaches(t, "one of a network without icc", w.c, "tcp", "192.0.2.2:80", "192.0.2.1")
			})
			t.Run("internal", func(t *testing.T) {
				cutOff(t, "internal", w.i, "tcp", "192.0.2.2:80")
				cutOff(t, "internal, to another network", w.i, "tcp", "172.18.0.2:80")
				cutOff(t, "internal, to a port of another network", w.i, "tcp", "192.0.2.1:8080")
				cutOff(t, "outside, to a port of an internal network", w.outside, "tcp", "192.0.2.1:6060")
				cutOff(t, "another network, to an internal one", w.a, "tcp", "172.20.0.2:80")
			})
			t.Run("removed", func(t *testing.T) {
				must(t, w.f.Apply(t.Context(), Change{RemovePorts: []Port{publish(catenet.TCP, "0.0.0.0:8080", "172.18.0.2:80", front.ID)}}))
				if _, err := reach(w.outside, "tcp", "192.0.2.1:8080"); err == nil {
					t.Error("outside reaches a port that is not published any more")
				}
				reaches(t, "outside, over the other protocol", w.outside, "udp", "192.0.2.1:8080", "192.0.2.2")
				reaches(t, "outside, over the other family", w.outside, "tcp", "[2001:db8::1]:8080", "2001:db8::2")
			})
		})
	}
}

// TestLinks: on a network without icc a link opens one port, to one container,
// with answers. As the driver has it, those containers send each other what
// they have by way of the gateway.
func TestLinks(t *testing.T) {
	for _, brNetfilter := range []int{0, 1} {
		t.Run(fmt.Sprintf("bridge-nf-call-iptables=%d", brNetfilter), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brNetfilter, nft.Options{})
			l := link(catenet.TCP, "172.19.0.2", "172.19.0.3:80")
			must(t, w.f.Restore(t.Context(), []Network{front, back}, nil, l))
			for _, ns := range []*kerneltest.NS{w.c, w.d} {
				ns.Run("ip", "route", "add", "172.19.0.1", "dev", "eth0")
				ns.Run("ip", "route", "add", "172.19.0.0/17", "via", "172.19.0.1")
				serve(t, ns, "tcp", ":80")
				serve(t, ns, "tcp", ":81")
				serve(t, ns, "udp", ":80")
			}
			serve(t, w.a, "tcp", ":80")
			reaches(t, "who links", w.c, "tcp", "172.19.0.3:80", "172.19.0.2")
			cutOff(t, "who links, another port", w.c, "tcp", "172.19.0.3:81")
			cutOff(t, "who links, another protocol", w.c, "udp", "172.19.0.3:80")
			cutOff(t, "who is linked", w.d, "tcp", "172.19.0.2:80")
			cutOff(t, "somebody of another network", w.a, "tcp", "172.19.0.3:80")
			must(t, w.f.Apply(t.Context(), Change{RemoveLinks: []Link{l}}))
			cutOff(t, "who linked once", w.c, "tcp", "172.19.0.3:80")
		})
	}
}

// TestLoopbackStaysInside sends what a neighbour on the LAN can send to
// 127.0.0.1 where route_localnet is set.
func TestLoopbackStaysInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nft.Options{})
	must(t, w.f.Restore(t.Context(), []Network{front}, []Port{
		publish(catenet.UDP, "127.0.0.1:8081", "172.18.0.2:80", front.ID),
		publish(catenet.UDP, "0.0.0.0:8082", "172.18.0.2:80", front.ID),
	}))
	w.host.Run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
	w.outside.Run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
	w.outside.Run("ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
	w.outside.Run("ip", "route", "del", "local", "127.0.0.1", "table", "local")
	w.outside.Run("ip", "route", "add", "127.0.0.0/8", "via", "192.0.2.1", "src", "192.0.2.2")
	// Listeners on the host, as a proxy of the daemon would have.
	for port, open := range map[string]bool{":8081": false, ":8082": false, ":8083": true} {
		var pc net.PacketConn
		w.host.MustDo(func() (err error) { pc, err = net.ListenPacket("udp", "127.0.0.1"+port); return err })
		defer pc.Close()
		for who, ns := range map[string]*kerneltest.NS{"outside": w.outside, "the host": w.host} {
			ns.MustDo(func() error {
				c, err := net.Dial("udp", "127.0.0.1"+port)
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write([]byte("x"))
				return err
			})
			must(t, pc.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
			_, _, err := pc.ReadFrom(make([]byte, 10))
			if got := err == nil; got != (open || ns == w.host) {
				t.Errorf("a packet from %s to 127.0.0.1%s: arrived %v", who, port, got)
			}
		}
	}
	serve(t, w.a, "udp", ":80")
	if _, err := reach(w.outside, "udp", "192.0.2.1:8081"); err == nil {
		t.Error("a port published on 127.0.0.1 is open to the LAN")
	}
	reaches(t, "outside", w.outside, "udp", "192.0.2.1:8082", "192.0.2.2")
}
