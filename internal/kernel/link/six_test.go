package link

import (
	"strings"
	"testing"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/vm"
)

// TestNarrow: links that are too narrow for IPv6 are made, found right, and
// made wide, which brings no IPv6 that nobody wants.
func TestNarrow(t *testing.T) {
	t.Parallel()
	host, ctr := kerneltest.New(t), kerneltest.New(t)
	h, ns := openIn(t, host, nil), at(t, ctr.Path)
	for _, mtu := range []int{600, 68, 1400, 1279, 1280} {
		br, veth, eth0 := bridgeLink(), vethLink(1, ns, "eth0"), insideOf(1, "eth0")
		br.MTU, veth.MTU, eth0.MTU, veth.NoIPv6 = mtu, mtu, mtu, true
		for pass := range 2 {
			before := h.Writes()
			for _, l := range []kernel.Link{br, veth} {
				if err := h.EnsureLink(t.Context(), l); err != nil {
					t.Fatalf("MTU %d, pass %d: %v", mtu, pass, err)
				}
			}
			if err := h.Dress(t.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{eth0}}); err != nil {
				t.Fatalf("MTU %d, pass %d: %v", mtu, pass, err)
			}
			if n := h.Writes() - before; pass > 0 && n != 0 {
				t.Errorf("MTU %d: a further pass wrote %d changes", mtu, n)
			}
		}
		ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
		inside := ctr.Run("ip", "-o", "addr", "show", "dev", "eth0")
		if strings.Contains(inside+host.Run("ip", "-o", "addr"), "inet6 fe80") {
			t.Errorf("MTU %d: there are link-local addresses:\n%s", mtu, inside)
		}
		for _, key := range []string{"net.ipv6.conf." + veth.Name + ".disable_ipv6", "net.ipv6.conf.br0.disable_ipv6"} {
			if mtu >= minMTU6 && strings.TrimSpace(host.Run("sysctl", "-n", key)) != "1" {
				t.Errorf("MTU %d: %s is not 1", mtu, key)
			}
		}
		if mtu >= minMTU6 && strings.TrimSpace(ctr.Run("sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6")) != "1" {
			t.Errorf("MTU %d: there is IPv6 inside", mtu)
		}
	}
}

// TestWithoutIPv6 is for a kernel that has been told to leave it out.
func TestWithoutIPv6(t *testing.T) {
	if !vm.Inside(t, vm.Guest{Modules: []string{"veth", "bridge"}, Boot: []string{"ipv6.disable=1"}}) {
		return
	}
	t.Run("attached", func(t *testing.T) {
		a := newAttached(t)
		a.ctr.Run("ping", "-c1", "-W9", "10.9.0.1")
		a.settled()
	})
	t.Run("joined", func(t *testing.T) {
		j := newJoined(t)
		j.mustJoin(0, 1)
		j.sides[0].Run("ping", "-c1", "-W9", addr(2).Addr().String())
	})
}
