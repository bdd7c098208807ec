package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// advertise sends a router advertisement (RFC 4861, section 4.2) out of a link
// of a namespace: a router for half an hour, and a prefix for addresses.
func advertise(ns, link string, prefix netip.Addr) error {
	return kerneltest.In(ns, func() error {
		ifi, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for opt, v := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: ifi.Index} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, opt, v); err != nil {
				return err
			}
		}
		msg := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}                  // lifetime 1800 s
		msg = append(msg, 3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0) // prefix option: on link, autonomous
		msg = append(msg, prefix.AsSlice()...)
		return unix.Sendto(fd, msg, 0, &unix.SockaddrInet6{
			Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(ifi.Index),
		})
	})
}

func TestRouterAdvertisementsOfContainersReachNobody(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.idle("evil", "--network", "front")
	g.idle("victim", "--network", "front")
	victim := g.ns("victim")
	in := func(args ...string) string {
		return g.a.MustRun("nsenter", append([]string{"--net=" + victim, "--"}, args...)...)
	}
	// Even one that would listen to them.
	in("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra")
	dump := g.a.Start("nsenter", "--net="+victim, "--", "tcpdump", "-lni", "eth0", "icmp6")
	g.Eventually(soon, func() string {
		return strings.Repeat("tcpdump does not listen", 1-min(1, strings.Count(dump.Output(), "listening on")))
	})
	bad := netip.MustParseAddr("2001:db8:bad::")
	for range 5 {
		if err := advertise(g.ns("evil"), "eth0", bad); err != nil {
			t.Fatal(err)
		}
	}
	g.a.Exec("evil", "ping", "-c1", "-W2", g.addr6("victim").String())
	g.Eventually(soon, func() string {
		if !strings.Contains(dump.Output(), "echo request") {
			return "the victim hears nothing at all: this test proves nothing"
		}
		return ""
	})
	if out := dump.Output(); strings.Contains(out, "router advertisement") {
		t.Errorf("an advertisement reached another container:\n%s", out)
	}
	for where, out := range map[string]string{
		"the victim": in("ip", "-6", "addr") + in("ip", "-6", "route"),
		"the host":   g.a.MustRun("ip", "-6", "addr") + g.a.MustRun("ip", "-6", "route"),
	} {
		if strings.Contains(out, "2001:db8:bad") || strings.Contains(out, "proto ra") {
			t.Errorf("%s believed it:\n%s", where, out)
		}
	}
}

func TestTheHostKeepsItsOwnRouterAdvertisements(t *testing.T) {
	g := newGround(t)
	g.out.MustRun("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", g.a.NS.Path)
	g.out.MustRun("ip", "link", "set", "up0", "up")
	g.a.MustRun("ip", "link", "set", "up0", "up")
	learns := func(prefix string) {
		t.Helper()
		g.Eventually(soon, func() string {
			if err := advertise(g.out.NS.Path, "up0", netip.MustParseAddr(prefix)); err != nil {
				time.Sleep(100 * time.Millisecond)
				return err.Error() // its link-local address is still tentative
			}
			time.Sleep(50 * time.Millisecond)
			if out := g.a.MustRun("ip", "-6", "route"); !strings.Contains(out, prefix) || !strings.Contains(out, "default via fe80") {
				return "the host learnt no route:\n" + out
			}
			return ""
		})
	}
	learns("2001:db8:aaaa::")
	g.a.Catenet("network", "create", "--ipv6", "front")
	g.serve("web", "--network", "front", "-p", "8080:80")
	if got := strings.TrimSpace(g.a.MustRun("cat", "/proc/sys/net/ipv6/conf/all/forwarding")); got != "1" {
		t.Fatalf("the host does not forward IPv6 (%s): this test proves nothing", got)
	}
	if out := g.a.MustRun("ip", "-6", "route"); !strings.Contains(out, "default via fe80") {
		t.Errorf("forwarding cost the host its route:\n%s", out)
	}
	learns("2001:db8:bbbb::")
}
