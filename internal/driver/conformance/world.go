package conformance

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// World is a kernel to try a driver on.
type World struct {
	Host kernel.Host
	// Place makes a namespace for a container; it lives as long as the test.
	Place func() *kernel.Namespace
	// Cut removes a link inside a namespace, as its container could, if it is
	// there: one end takes the other along.
	Cut func(ns *kernel.Namespace, name string)
	// Writes counts the changes made so far.
	Writes func() uint64
	// State is all that a driver can have made on the host.
	State func() string
	// FailAt makes the n-th call from now fail; nil on a real kernel.
	FailAt func(n int, err error)
	// NS is the host on a real kernel, else nil.
	NS *kerneltest.NS
}

// Fake is a world in memory.
func Fake(t testing.TB) World {
	k, places := fake.New(), 0
	return World{Host: k, Writes: k.Writes, FailAt: k.FailAt,
		Cut:   func(ns *kernel.Namespace, name string) { k.Cut(ns.Path, name) },
		State: func() string { return made(k.String()) },
		Place: func() *kernel.Namespace {
			places++
			path := fmt.Sprintf("/run/netns/%d", places)
			k.Adopt(path)
			ns, err := k.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			return ns
		}}
}

// made leaves of the text what a driver answers for: not the namespaces, and
// not that the host routes, which stays.
func made(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ip link") || strings.HasPrefix(line, "ip addr") || strings.HasPrefix(line, "ip route") || strings.HasPrefix(line, "ip neigh") || strings.HasPrefix(line, "bridge") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// Real is a host in a namespace of its own on the real kernel. As on the fake one,
// it is 192.0.2.1 on the wire of eth0.
func Real(t testing.TB) World {
	host := kerneltest.New(t)
	kerneltest.Connect(host, "eth0", "192.0.2.1/24", kerneltest.New(t), "eth0", "192.0.2.2/24")
	var h *link.Host
	err := host.Do(func() (err error) { h, err = link.Open(nil, nil); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return World{Host: h, Writes: h.Writes, NS: host,
		Cut: func(ns *kernel.Namespace, name string) {
			host.Run("nsenter", "--net="+ns.Path, "sh", "-c", "ip link del "+name+" || ! ip link show "+name)
		},
		State: func() string {
			// Only what is lasting: an index or a carrier is not.
			script := `ip -o link | sed -E 's/^[0-9]+: ([^@:]+).*(mtu [0-9]+).*/\1 \2/' | sort
ip -o addr show scope global | awk '{print $2, $4}' | sort; ip route | sort; ip -6 route show proto kernel | grep -v ^fe80 | sort`
			return strings.ReplaceAll(host.Run("sh", "-c", script), " linkdown", "")
		},
		Place: func() *kernel.Namespace {
			ns, err := netns.New().Open(kerneltest.New(t).Path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := ns.Close(); err != nil {
					t.Errorf("close %s: %v", filepath.Base(ns.Path), err)
				}
			})
			return ns
		}}
}

// Endpoint is the i-th endpoint of a network: its addresses follow the
// gateways', and the default routes go through it, where the network has
// gateways; else they are the first that the subnets have.
func Endpoint(n catenet.Network, i int) catenet.Endpoint {
	ep := catenet.Endpoint{
		ID:        fmt.Sprintf("%02x%s", i, n.ID[2:]),
		NetworkID: n.ID, Interface: "eth0",
	}
	for _, p := range n.Pools {
		a, out := p.Gateway, p.Gateway.IsValid()
		if !out {
			a = p.Subnet.Addr()
		}
		if p.Subnet.Bits() == a.BitLen()-1 { // both of its addresses are for endpoints
			a = a.Prev()
		}
		for range i {
			a = a.Next()
		}
		at := netip.PrefixFrom(a, p.Subnet.Bits())
		if a.Is4() {
			ep.IPv4, ep.Gateway4, ep.DefaultRoute4 = at, p.Gateway, out
		} else {
			ep.IPv6, ep.Gateway6, ep.DefaultRoute6 = at, p.Gateway, out
		}
		if ep.MAC == "" {
			ep.MAC = catenet.MACFor(a)
		}
	}
	return ep
}
