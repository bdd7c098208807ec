package link

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// advertise sends a router advertisement (RFC 4861, section 4.2) with a
// lifetime of 1800 s out of link. The kernel adds the checksum.
func advertise(router *kerneltest.NS, link string) error {
	return router.Do(func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
			return err
		}
		to := &unix.SockaddrInet6{ZoneId: uint32(i.Index)}
		copy(to.Addr[:], net.IPv6linklocalallnodes)
		return unix.Sendto(s, []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}, 0, to)
	})
}

// routedByRA is a host that has learnt its default route from a router.
func routedByRA(t *testing.T) (host *kerneltest.NS) {
	t.Helper()
	host, router := kerneltest.New(t), kerneltest.New(t)
	for _, ns := range []*kerneltest.NS{host, router} {
		ns.Run("sysctl", "-w", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=1")
	}
	kerneltest.Connect(host, "wan", "", router, "lan", "")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := advertise(router, "lan") // fails until the router has its link-local address
		if strings.Contains(host.Run("ip", "-6", "route"), "default") {
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("the host learns no route; last advertisement: %v", err)
		}
	}
}

func TestForwardingKeepsTheHostsOwnRoute(t *testing.T) {
	t.Parallel()
	host := routedByRA(t)
	h := openIn(t, host, nil)
	for range 2 {
		if err := h.EnableForwarding(t.Context(), true, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := host.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); got != "1\n1\n" {
		t.Errorf("forwarding: %s", got)
	}
	if out := host.Run("ip", "-6", "route"); !strings.Contains(out, "default via fe80") {
		t.Errorf("the learnt route is gone:\n%s", out)
	}
	before := h.Writes()
	if err := h.EnableForwarding(t.Context(), true, true); err != nil || h.Writes() != before {
		t.Errorf("again: %v, %d writes", err, h.Writes()-before)
	}
}

// Without the care that EnableForwarding takes the route goes: if this fails,
// the test above tests nothing any more.
func TestBareForwardingLosesTheRoute(t *testing.T) {
	t.Parallel()
	host := routedByRA(t)
	host.Run("sysctl", "-w", "net.ipv6.conf.all.forwarding=1")
	if out := host.Run("ip", "-6", "route"); strings.Contains(out, "default") {
		t.Errorf("the route is still there:\n%s", out)
	}
}

func TestForwardingOfOneFamily(t *testing.T) {
	t.Parallel()
	host := kerneltest.New(t)
	host.Run("sysctl", "-w", "net.ipv4.ip_forward=0")
	h := openIn(t, host, nil)
	if err := h.EnableForwarding(t.Context(), true, false); err != nil {
		t.Fatal(err)
	}
	if got := host.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); got != "1\n0\n" {
		t.Errorf("forwarding: %s", got)
	}
}
