package firewall

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestRouterAdvertisements: what a container sends as a router reaches
// neither its neighbours nor the host; a router that is no container's link
// still does, and so do other messages.
func TestRouterAdvertisements(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, nft.Options{})
	router := newNS(t)
	kerneltest.Connect(w.host, "rt0", "", router, "eth0", "fd00:18::9/64")
	w.host.Run("ip", "link", "set", "rt0", "master", "br-front")
	b, host := listenICMP(t, w.b), listenICMP(t, w.host)

	advertise := func(ns *kerneltest.NS, typ ipv6.ICMPType) {
		t.Helper()
		c := listenICMP(t, ns)
		ifi := 0
		ns.MustDo(func() error {
			i, err := net.InterfaceByName("eth0")
			ifi = i.Index
			return err
		})
		// Cur hop limit, flags, router lifetime 1800 s, two timers (RFC 4861).
		body := &icmp.RawBody{Data: []byte{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}}
		msg, err := (&icmp.Message{Type: typ, Body: body}).Marshal(nil)
		must(t, err)
		for late := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			_, err = c.IPv6PacketConn().WriteTo(msg, &ipv6.ControlMessage{HopLimit: 255, IfIndex: ifi},
				&net.IPAddr{IP: net.ParseIP("ff02::1")})
			if !errors.Is(err, unix.ENETUNREACH) || time.Now().After(late) { // a link that has only just come up
				break
			}
		}
		must(t, err)
	}
	advertise(router, ipv6.ICMPTypeRouterAdvertisement)
	heard(t, "a container, of a router", b, ipv6.ICMPTypeRouterAdvertisement, true)
	heard(t, "the host, of a router", host, ipv6.ICMPTypeRouterAdvertisement, true)

	must(t, w.f.Restore(t.Context(), []Network{front}, nil))
	advertise(router, ipv6.ICMPTypeRouterAdvertisement)
	heard(t, "a container, of a router", b, ipv6.ICMPTypeRouterAdvertisement, true)
	heard(t, "the host, of a router", host, ipv6.ICMPTypeRouterAdvertisement, true)
	advertise(w.a, ipv6.ICMPTypeRouterAdvertisement)
	heard(t, "a container, of a container", b, ipv6.ICMPTypeRouterAdvertisement, false)
	heard(t, "the host, of a container", host, ipv6.ICMPTypeRouterAdvertisement, false)
	for _, tags := range [][]byte{{0x81, 0}, {0x88, 0xa8}, {0x81, 0, 0x81, 0}, {0x88, 0xa8, 0x81, 0}, {0x81, 0, 0x88, 0xa8}, {0x81, 0, 0x81, 0, 0x81, 0}} {
		advertiseTagged(t, w.a, tags)
		heard(t, fmt.Sprintf("a container, of a container behind tags % x", tags), b, ipv6.ICMPTypeRouterAdvertisement, false)
		heard(t, fmt.Sprintf("the host, of a container behind tags % x", tags), host, ipv6.ICMPTypeRouterAdvertisement, false)
	}
	advertise(w.a, ipv6.ICMPTypeNeighborAdvertisement)
	heard(t, "a container, of a container", b, ipv6.ICMPTypeNeighborAdvertisement, true)
}

// advertiseTagged sends a router advertisement behind tags of VLAN 0, of the
// ethertypes given. A receiver takes them all off.
func advertiseTagged(t *testing.T, ns *kerneltest.NS, tags []byte) {
	t.Helper()
	from, to := net.ParseIP("fe80::bad"), net.ParseIP("ff02::1")
	body := &icmp.RawBody{Data: []byte{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}}
	msg, err := (&icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement, Body: body}).Marshal(icmp.IPv6PseudoHeader(from, to))
	must(t, err)
	frame := []byte{0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 0x0a}
	for i := 0; i < len(tags); i += 2 {
		frame = append(frame, tags[i], tags[i+1], 0, 0)
	}
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(msg)), 58, 255)
	frame = slices.Concat(frame, from, to, msg)
	ns.MustDo(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		return unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
}

func listenICMP(t *testing.T, ns *kerneltest.NS) (c *icmp.PacketConn) {
	t.Helper()
	ns.MustDo(func() (err error) { c, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err })
	t.Cleanup(func() { c.Close() })
	return c
}

// heard looks for a message of a type among those that came.
func heard(t *testing.T, who string, c *icmp.PacketConn, typ ipv6.ICMPType, want bool) {
	t.Helper()
	got := false
	must(t, c.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	for b := make([]byte, 1500); !got; {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			break
		}
		got = n > 0 && ipv6.ICMPType(b[0]) == typ
	}
	if got != want {
		t.Errorf("%s: heard a %v: %v", who, typ, got)
	}
}
