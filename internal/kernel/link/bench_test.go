package link

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// openIn opens a host in a namespace of the test's own.
func openIn(t testing.TB, ns *kerneltest.NS, redirect Redirect) *Host {
	t.Helper()
	var h *Host
	err := ns.Do(func() (err error) { h, err = Open(redirect, nil); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// at opens a namespace for as long as the test.
func at(t testing.TB, path string) *kernel.Namespace {
	t.Helper()
	ns, err := netns.New().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func bridgeLink() kernel.Link {
	return kernel.Link{Name: "br0", Kind: "bridge", Alias: kernel.Mark + "net", NoIPv6: true,
		MAC:   net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/16")}}
}

func vethLink(i int, ns *kernel.Namespace, peer string) kernel.Link {
	id := fmt.Sprintf("%012x", i)
	return kernel.Link{Name: kernel.EndpointLinkPrefix + id, Kind: "veth", Alias: kernel.Mark + id, MTU: 1500,
		Master: "br0", Isolated: true,
		Peer: &kernel.Peer{Name: peer, NS: ns, MAC: mac(i)}}
}

func mac(i int) net.HardwareAddr {
	hw, err := net.ParseMAC(catenet.MACFor(addr(i).Addr()))
	if err != nil {
		panic(err)
	}
	return hw
}

func addr(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte((i + 2) >> 8), byte(i + 2)}), 16)
}

func insideOf(i int, name string) kernel.Interface {
	return kernel.Interface{Link: name, Name: name, Alias: kernel.Mark + fmt.Sprintf("%012x", i), MTU: 1500, MAC: mac(i),
		Addrs: []netip.Prefix{addr(i)}, NoIPv6: true,
		Routes: []kernel.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.9.0.1")}}}
}

// attachBench runs one round an iteration, on a namespace that is emptied
// outside the clock.
func attachBench(b *testing.B, round func(h *Host, ns *kernel.Namespace, i int) error) {
	hostNS, ctr := kerneltest.New(b), kerneltest.New(b)
	h, ns := openIn(b, hostNS, nil), at(b, ctr.Path)
	// As in the daemon: the program's threads are on the host.
	err := netns.Do(h.home, func() error {
		h.away = false
		if err := h.EnsureLink(b.Context(), bridgeLink()); err != nil {
			return err
		}
		b.ResetTimer()
		b.StopTimer()
		for i := range b.N {
			b.StartTimer()
			err := round(h, ns, i%60000)
			b.StopTimer()
			if err != nil {
				return err
			}
			if err := h.DeleteLinks(b.Context(), vethLink(i%60000, ns, "eth0").Name); err != nil {
				return err
			}
		}
		h.away = true
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAttach(b *testing.B) {
	attachBench(b, func(h *Host, ns *kernel.Namespace, i int) error {
		if err := h.EnsureLink(b.Context(), vethLink(i, ns, "eth0")); err != nil {
			return err
		}
		return h.Dress(b.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{insideOf(i, "eth0")}})
	})
}

// BenchmarkEnsure and BenchmarkDress are Attach's parts.
func BenchmarkEnsure(b *testing.B) {
	attachBench(b, func(h *Host, ns *kernel.Namespace, i int) error {
		return h.EnsureLink(b.Context(), vethLink(i, ns, "eth0"))
	})
}

// BenchmarkFloor sends only the messages without which no container can be
// attached: a veth into the namespace and on the bridge, its address, up, and
// the default route.
func BenchmarkFloor(b *testing.B) {
	attachBench(b, func(h *Host, ns *kernel.Namespace, i int) error {
		err := h.with(b.Context(), func(c *conn) error {
			master, err := c.index("br0")
			if err != nil {
				return err
			}
			var m batch
			newLink(&m, vethLink(i, ns, "eth0"), aim{master: master})
			return must(c, &m)
		})
		if err != nil {
			return err
		}
		return netns.Do(ns, func() error {
			c, err := dial()
			if err != nil {
				return err
			}
			defer c.close()
			index, err := c.index("eth0")
			if err != nil {
				return err
			}
			var m batch
			m.message("up", unix.RTM_NEWLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP))
			addrMessage(&m, "address", unix.RTM_NEWADDR, index, addr(i))
			r := route{kernel.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.9.0.1")}, index, 159}
			routeMessage(&m, "route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE, r, nil)
			return must(c, &m)
		})
	})
}

func must(c *conn, b *batch) error {
	refused, err := c.run(b)
	if err == nil && len(refused) > 0 {
		err = refused[0]
	}
	return err
}

// BenchmarkDelete100 removes a hundred veths: by one call of ours, by one
// batch of single removals, and one after the other.
func BenchmarkDelete100(b *testing.B) {
	const n = 100
	for _, how := range []string{"group", "batch", "single"} {
		b.Run(how, func(b *testing.B) {
			h, ctr := openIn(b, kerneltest.New(b), nil), kerneltest.New(b)
			ns := at(b, ctr.Path)
			if err := h.EnsureLink(b.Context(), bridgeLink()); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				var names []string
				for i := range n {
					l := vethLink(i, ns, fmt.Sprintf("eth%d", i))
					if err := h.EnsureLink(b.Context(), l); err != nil {
						b.Fatal(err)
					}
					names = append(names, l.Name)
				}
				b.StartTimer()
				began := time.Now()
				if err := deleteBy(b, h, how, names); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(began).Microseconds())/n, "µs/link")
			}
		})
	}
}

func deleteBy(b *testing.B, h *Host, how string, names []string) error {
	switch how {
	case "group":
		return h.DeleteLinks(b.Context(), names...)
	case "single":
		for _, name := range names {
			if err := h.DeleteLinks(b.Context(), name); err != nil {
				return err
			}
		}
		return nil
	}
	return h.with(b.Context(), func(c *conn) error {
		var m batch
		for _, name := range names {
			m.message("remove", unix.RTM_DELLINK, 0, ifinfo(0, 0, 0))
			m.str(unix.IFLA_IFNAME, name)
		}
		return must(c, &m)
	})
}
