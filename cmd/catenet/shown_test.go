package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "1 minute", 90 * time.Second: "1 minute",
		time.Hour: "1 hour", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days", 15 * 24 * time.Hour: "2 weeks", 61 * 24 * time.Hour: "2 months", 800 * 24 * time.Hour: "2 years",
	} {
		if got := age(d); got != want {
			t.Errorf("%v is told as %q, want %q", d, got, want)
		}
	}
}

func TestPortRuns(t *testing.T) {
	any4, any6, lo := netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("127.0.0.1")
	var ports []catenet.PortBinding
	for i := range uint16(1000) {
		for _, ip := range []netip.Addr{any4, any6} {
			ports = append(ports, catenet.PortBinding{Proto: catenet.TCP, HostIP: ip, HostPort: 10000 + i, Port: 20000 + i})
		}
	}
	ports = append(ports,
		catenet.PortBinding{Proto: catenet.UDP, HostIP: any4, HostPort: 11000, Port: 21000},
		catenet.PortBinding{Proto: catenet.TCP, HostIP: lo, HostPort: 53, Port: 53},
		catenet.PortBinding{Proto: catenet.TCP, HostIP: lo, HostPort: 55, Port: 54},
		catenet.PortBinding{Proto: catenet.UDP, HostIP: any6, Routed: true, Port: 80},
		catenet.PortBinding{Proto: catenet.UDP, HostIP: any6, Routed: true, Port: 81},
	)
	want := "0.0.0.0:10000-10999->20000-20999/tcp, 0.0.0.0:11000->21000/udp, 127.0.0.1:53->53/tcp, 127.0.0.1:55->54/tcp, [::]:10000-10999->20000-20999/tcp, [::]:->80-81/udp"
	if got := strings.Join(portRuns(ports, "->", false), ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = ":10000-10999→20000-20999/tcp, :11000→21000/udp, 127.0.0.1:53→53/tcp, 127.0.0.1:55→54/tcp, :→80-81/udp"
	if got := strings.Join(portRuns(ports, "→", true), ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestWhatTheHostIsNotIn hangs on no host: neither beside networks of the
// host's, nor alone.
func TestWhatTheHostIsNotIn(t *testing.T) {
	network := func(name, driver, subnet, gateway string) (n catenet.NetworkStatus) {
		n.Name, n.Driver = name, driver
		p := catenet.Pool{Subnet: netip.MustParsePrefix(subnet)}
		if gateway != "" {
			p.Gateway = netip.MustParseAddr(gateway)
		}
		n.Pools = []catenet.Pool{p}
		return n
	}
	cable, wire := network("cable", "ptp", "10.8.0.0/30", ""), network("wire", "ptp", "10.9.0.0/30", "")
	front := network("front", "macvlan", "10.1.0.0/24", "10.1.0.1")
	front.Predefined = true
	info := catenet.Info{Hostname: "h"}
	info.Kernel = "6"
	for want, networks := range map[string][]catenet.NetworkStatus{
		`
╔═ h ════════════════════════════╗
║ kernel 6 · catenet             ║
╚═╤══════════════════════════════╝
  │   ╭─ front · macvlan ────────╮
  ╰───┤ 10.1.0.0/24 via 10.1.0.1 │
      ╰──────────────────────────╯

      ╭─ cable · ptp ────────────╮
      │ 10.8.0.0/30              │
      ╰──────────────────────────╯

      ╭─ wire · ptp ─────────────╮
      │ 10.9.0.0/30              │
      ╰──────────────────────────╯
`: {cable, front, wire},
		`
╔═ h ═════════════════╗
║ kernel 6 · catenet  ║
╚═════════════════════╝
      ╭─ wire · ptp ──╮
      │ 10.9.0.0/30   │
      ╰───────────────╯
`: {wire},
	} {
		if got := "\n" + draw(scene(info, networks, nil, true)); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// TestDrawingStands: with many containers and odd names every box is closed at
// one column.
func TestDrawingStands(t *testing.T) {
	for _, n := range []int{0, 1, 50} {
		p := picture{title: "hôst", about: strings.Repeat("about ", n)}
		for i := range 3 {
			b := box{title: fmt.Sprintf("net%d · bridge", i), about: strings.Repeat("x", i*20)}
			for j := range n {
				b.members = append(b.members, member{running: j%2 == 0, name: strings.Repeat("n", j+1), link: "eth0", addr: "10.0.0.1"})
			}
			p.boxes = append(p.boxes, b)
		}
		out := draw(p)
		if got := strings.Count(out, "●") + strings.Count(out, "○"); got != 3*n {
			t.Errorf("%d containers drawn, not %d:\n%s", got, 3*n, out)
		}
		ends := map[int]int{}
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasSuffix(line, "╗") || strings.HasSuffix(line, "║") || strings.HasSuffix(line, "╮") || strings.HasSuffix(line, "╯") || strings.HasSuffix(line, "─┤") {
				ends[width(line)]++
			}
		}
		if len(ends) != 1 {
			t.Errorf("boxes end at columns %v:\n%s", ends, out)
		}
	}
}

// TestDrawingNamesTheLink: as the daemon says, whatever the network is called.
func TestDrawingNamesTheLink(t *testing.T) {
	var n catenet.NetworkStatus
	n.Name, n.Driver, n.Predefined, n.Link = "bridge", "bridge", true, "catenet0"
	if got := draw(scene(catenet.Info{}, []catenet.NetworkStatus{n}, nil, true)); !strings.Contains(got, "┤ catenet0 ") {
		t.Error(got)
	}
}

// Other hosts of a network are drawn, the first of them.
func TestTopologyShowsHosts(t *testing.T) {
	n := catenet.NetworkStatus{Network: catenet.Network{NetworkSpec: catenet.NetworkSpec{Name: "wide", Driver: "routed"}}}
	for i := range maxHosts + 3 {
		n.Peers = append(n.Peers, catenet.Peer{Host: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), By: "route",
			Subnets: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, byte(i), 0}), 24)}})
	}
	n.Peers[1].Trouble, n.Trouble = "it is on no wire of this host", "a host is not reached"
	got := draw(scene(catenet.Info{}, []catenet.NetworkStatus{n}, nil, false))
	for _, want := range []string{"┤ in trouble: catenet info │", "├─◇ 192.0.2.2  route  10.5.1.0/24  not reached\n", "├─◆ 192.0.2.8  route  10.5.7.0/24\n", "╰─◆ 3 more\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
