package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/flanneld"
	"github.com/catenet/catenet/test/lab"
)

// shared are three hosts of ours and one with flanneld, in one network, each with a
// box; a host with etcd, and a stranger on the wire.
type shared struct {
	*lab.Lab
	nodes          []*lab.Host // the last is flanneld's
	etcd, stranger *lab.Host
	server         *etcdserver.Server
	boxes          []netip.Addr // of the nodes, in their order
	six            []netip.Addr // the same of IPv6; none in a network of IPv4 alone
	mtu            int          // of the boxes, in bytes
}

// newShared has the first host write the config.
func newShared(t *testing.T, config string, mtu int) *shared {
	t.Helper()
	s := &shared{Lab: lab.New(t), mtu: mtu}
	for _, name := range []string{"a", "b", "c", "theirs"} {
		s.nodes = append(s.nodes, s.Host(name))
	}
	s.etcd, s.stranger = s.Host("etcd"), s.Host("stranger")
	s.Switch(append([]*lab.Host{s.etcd, s.stranger}, s.nodes...), "192.0.2.0/24", "2001:db8::/64")
	s.server = etcdserver.Start(t, etcdserver.Options{NS: s.etcd.NS.Path, Host: "192.0.2.1"})
	for _, h := range s.ours() {
		h.Daemon()
		h.Catenet(append(s.create(h), "-o", "write-config="+config, "wide")...)
		s.attach(h, "box")
		h.Serve(s.ns(h, "box"), 80, h.Name)
		box := status(h, "box").Endpoints[0]
		s.know(box.IPv4.Addr(), box.IPv6.Addr())
	}
	s.flanneld(t)
	return s
}

func (s *shared) ours() []*lab.Host { return s.nodes[:len(s.nodes)-1] }

func (s *shared) create(h *lab.Host) []string {
	return []string{"network", "create", "-d", "flannel", "-o", "etcd=" + s.server.Endpoint, "-o", "iface=eth0", "-o", "subnet-file=" + h.Dir + "/subnet.env"}
}

func (s *shared) etcdctl(args ...string) string {
	s.T.Helper()
	return s.etcd.MustRun("env", append([]string{"ETCDCTL_API=3", "etcdctl", "--endpoints=" + s.server.Endpoint}, args...)...)
}

func (s *shared) know(four, six netip.Addr) {
	s.boxes = append(s.boxes, four)
	if six.IsValid() {
		s.six = append(s.six, six)
	}
}

// ns is the namespace of a box, made when it is first asked for.
func (s *shared) ns(h *lab.Host, box string) string { return "/run/netns/" + s.Name(h.Name+"-"+box) }

func (s *shared) netns(h *lab.Host, box string) {
	name := s.Name(h.Name + "-" + box)
	h.MustRun("ip", "netns", "add", name)
	s.T.Cleanup(func() { h.MustRun("ip", "netns", "del", name) })
}

func (s *shared) attach(h *lab.Host, box string) {
	s.netns(h, box)
	h.Catenet("attach", "--network", "wide", "--name", box, "--netns", s.ns(h, box))
}

// flanneld starts one on the last node, and a box on a bridge by hand.
func (s *shared) flanneld(t *testing.T) {
	t.Helper()
	h := s.nodes[len(s.nodes)-1]
	h.MustRun("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	d := flanneld.Start(t, h.NS.Path, s.server.Endpoint, "eth0", "--public-ip", h.Addr4.String(), "--public-ipv6", h.Addr6.String())
	s.byHand(h, d.SubnetFile)
}

// byHand makes a box on a bridge, as Docker would by flanneld's file.
func (s *shared) byHand(h *lab.Host, file string) {
	s.T.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		s.T.Fatal(err)
	}
	s.netns(h, "box")
	box := s.Name(h.Name + "-box")
	h.MustRun("ip", "link", "add", "name", "hand0", "type", "bridge")
	h.MustRun("ip", "link", "add", "hand1", "type", "veth", "peer", "name", "eth0", "netns", box)
	h.MustRun("ip", "link", "set", "hand1", "master", "hand0", "up")
	h.MustRun("ip", "link", "set", "hand0", "mtu", strconv.Itoa(s.mtu), "up")
	h.MustRun("ip", "-n", box, "link", "set", "eth0", "mtu", strconv.Itoa(s.mtu), "up")
	var addrs [2]netip.Addr
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p, err := netip.ParsePrefix(value)
		if err != nil || !strings.HasSuffix(key, "SUBNET") {
			continue
		}
		addr := p.Addr().Next()
		if p.Addr().Is4() {
			addrs[0] = addr
		} else {
			addrs[1] = addr
		}
		h.MustRun("ip", "addr", "add", value, "dev", "hand0", "nodad")
		h.MustRun("ip", "-n", box, "addr", "add", netip.PrefixFrom(addr, p.Bits()).String(), "dev", "eth0", "nodad")
		h.MustRun("ip", "-n", box, "route", "add", "default", "via", p.Addr().String())
	}
	h.Serve(s.ns(h, "box"), 80, h.Name)
	s.know(addrs[0], addrs[1])
}

// hears says what is wrong with a box asking another and being known by its address.
func (s *shared) hears(from, to int) string {
	all := [][]netip.Addr{s.boxes}
	if len(s.six) > 0 {
		all = append(all, s.six)
	}
	for _, boxes := range all {
		h := s.nodes[from]
		want := s.nodes[to].Name + " " + boxes[from].String()
		if got := h.Ask(s.ns(h, "box"), "tcp", netip.AddrPortFrom(boxes[to], 80).String()); got != want {
			return fmt.Sprintf("the box of %s asks that of %s and hears %q, want %q", h.Name, s.nodes[to].Name, got, want)
		}
	}
	return ""
}

// everyPair waits until all boxes reach each other.
func (s *shared) everyPair(when string) {
	s.T.Helper()
	for from := range s.nodes {
		for to := range s.nodes {
			if from != to {
				s.Eventually(soon, func() string {
					if wrong := s.hears(from, to); wrong != "" {
						return when + ": " + wrong
					}
					return ""
				})
			}
		}
	}
}

// widely is what network inspect says of peers, and of what is wrong.
type widely struct {
	Peers  []struct{ IP, By string }
	Status struct{ Trouble string }
}

func (s *shared) tells(h *lab.Host) widely {
	s.T.Helper()
	var all []widely
	h.Inspect(&all, "network", "inspect", "wide")
	return all[0]
}

const (
	wideNet  = `"Network": "10.5.0.0/16", "EnableNFTables": true`
	wideDual = wideNet + `, "EnableIPv6": true, "IPv6Network": "fd00:5::/48"`
)

// Three hosts of ours and one of flanneld's in one network, by each backend: boxes
// reach each other with their own addresses, whatever dies.
func TestFlannel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		mtu    int
		mtu6   int      // of the way of IPv6
		by     string   // how a peer is reached
		harms  []string // what a hand does on the first host
	}{
		"vxlan": {`{` + wideDual + `, "Backend": {"Type": "vxlan"}}`, 1450, 1430, "vxlan",
			[]string{"ip route flush proto 159", "ip neigh flush nud permanent dev flannel.1", "bridge fdb show dev flannel.1 | while read mac rest; do bridge fdb del $mac dev flannel.1; done", "ip link del flannel.1"}},
		"direct": {`{` + wideDual + `, "Backend": {"Type": "vxlan", "VNI": 7, "DirectRouting": true}}`, 1450, 1450, "route",
			[]string{"ip route flush proto 159; ip -6 route flush proto 159", "ip link del flannel-v6.7"}},
		"host-gw": {`{` + wideDual + `, "Backend": {"Type": "host-gw"}}`, 1500, 1500, "route",
			[]string{"ip route flush proto 159; ip -6 route flush proto 159"}},
		"udp": {`{` + wideNet + `, "Backend": {"Type": "UDP"}}`, 1472, 0, "udp, userspace",
			[]string{"ip route flush proto 159", "ip link del flannel0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShared(t, c.config, c.mtu)
			s.everyPair("at first")
			for _, p := range s.tells(s.nodes[0]).Peers {
				if p.By != c.by {
					t.Errorf("inspect tells of %+v, which is reached by %s", p, c.by)
				}
			}
			s.outside()
			s.edge(c.mtu6)
			s.mended(c.harms)
			s.upgraded()
			s.killed(name != "udp")
			s.orphaned()
			s.left()
		})
	}
}

// outside: a stranger sees the host in place of its box, and reaches no box; names of
// a host's boxes are known there.
func (s *shared) outside() {
	s.T.Helper()
	a := s.nodes[0]
	s.stranger.Serve("", 81, "stranger")
	if got, want := a.Ask(s.ns(a, "box"), "tcp", "192.0.2.2:81"), "stranger "+a.Addr4.String(); got != want {
		s.T.Errorf("a box asks a stranger and hears %q, want %q", got, want)
	}
	s.stranger.MustRun("ip", "route", "add", "10.5.0.0/16", "via", a.Addr4.String())
	if got := s.stranger.Ask("", "tcp", netip.AddrPortFrom(s.boxes[0], 80).String()); got != "" {
		s.T.Errorf("a stranger asks a box and hears %q", got)
	}
	for i := range s.ours()[1:] { // a host of the network is no stranger
		s.Eventually(soon, func() string {
			if got := a.Ask("", "tcp", netip.AddrPortFrom(s.boxes[i+1], 80).String()); !strings.HasPrefix(got, s.nodes[i+1].Name+" ") {
				return fmt.Sprintf("host a asks the box of %s and hears %q", s.nodes[i+1].Name, got)
			}
			return ""
		})
	}
	s.attach(a, "mate")
	if got := a.MustRun("nsenter", "--net="+s.ns(a, "mate"), "dig", "+short", "@127.0.0.11", "box"); got != s.boxes[0].String()+"\n" {
		s.T.Errorf("box is %q", got)
	}
}

// edge: a packet as big as the MTU passes whole, and no bigger one leaves. With vxlan the
// host tells who sends IPv6 that it takes less, and flanneld's does.
func (s *shared) edge(mtu6 int) {
	s.T.Helper()
	for to := 1; to < len(s.nodes); to++ {
		s.fits(0, s.boxes[to], s.mtu, s.mtu-28)
		if len(s.six) > 0 {
			s.fits(0, s.six[to], mtu6, mtu6-48)
			s.fits(len(s.nodes)-1, s.six[to-1], mtu6, mtu6-48)
		}
	}
}

// fits sends a packet that has room for so many bytes of payload, and one with one more.
func (s *shared) fits(from int, to netip.Addr, mtu, payload int) {
	s.T.Helper()
	h := s.nodes[from]
	for more, want := range []string{" 0% packet loss", fmt.Sprintf("(message too long|Packet too big).* ?mtu[:=] ?%d", mtu)} {
		r := h.Run("nsenter", "--net="+s.ns(h, "box"), "ping", "-n", "-c1", "-W2", "-M", "do", "-s", strconv.Itoa(payload+more), to.String())
		if !regexp.MustCompile(want).MatchString(r.Text()) {
			s.T.Errorf("a packet of %d bytes from %s to %v: %s", mtu+more, h.Name, to, r.Text())
		}
	}
}

// mended: what a hand takes away comes back.
func (s *shared) mended(harms []string) {
	s.T.Helper()
	for _, harm := range harms {
		s.nodes[0].MustRun("sh", "-c", harm)
		for to := 1; to < len(s.nodes); to++ {
			s.Eventually(soon, func() string {
				if wrong := s.hears(0, to); wrong != "" {
					return "after " + harm + ": " + wrong
				}
				return ""
			})
		}
	}
}

// upgraded: another program takes the daemon's place, and no packet is lost.
func (s *shared) upgraded() {
	s.T.Helper()
	a := s.nodes[0]
	serves := func() int { return strings.Count(a.Log(), "catenetd serves") }
	before := serves()
	ping := a.Start("nsenter", "--net="+s.ns(a, "box"), "ping", "-n", "-i0.002", "-c1000", "-W5", s.boxes[len(s.boxes)-1].String())
	a.Upgrade()
	if out := ping.Wait(); !strings.Contains(out, " 1000 received") {
		s.T.Errorf("pings were lost while the daemon was replaced:\n%s", out)
	}
	if serves() == before {
		s.T.Error("no other program has taken the daemon's place")
	}
}

// killed: the kernel goes on while the daemon is dead, and a transport of the daemon's
// is back with it.
func (s *shared) killed(kernels bool) {
	s.T.Helper()
	a := s.nodes[0]
	ping := a.Ping(s.ns(a, "box"), s.boxes[1].String(), 60)
	enough := func(n int) {
		s.T.Helper()
		s.Eventually(soon, func() string {
			if got := ping.Answered(); got < n {
				return fmt.Sprintf("%d pings are answered", got)
			}
			return ""
		})
	}
	enough(20)
	a.Kill()
	a.Daemon()
	enough(ping.Answered() + 200)
	if sent, lost := ping.Stop(); kernels && lost != 0 {
		s.T.Errorf("%d of %d pings were lost while the daemon was killed", lost, sent)
	}
	s.everyPair("after the daemon was killed")
}

// orphaned: without etcd traffic goes on, and restarts do; it is told of.
func (s *shared) orphaned() {
	s.T.Helper()
	a, b := s.nodes[0], s.nodes[1]
	s.server.Kill()
	for _, end := range []func(){b.Kill, b.Stop} {
		end()
		b.Daemon()
	}
	b.Catenet("detach", "box")
	b.Catenet("attach", "--network", "wide", "--name", "box", "--ip", s.boxes[1].String(), "--netns", s.ns(b, "box"))
	s.everyPair("without etcd")
	s.Eventually(soon, func() string {
		if got := s.tells(b); !strings.Contains(got.Status.Trouble, "etcd") {
			return fmt.Sprintf("inspect does not tell that etcd is away: %q", got.Status.Trouble)
		}
		return ""
	})
	s.server.Start()
	for _, h := range []*lab.Host{a, b} {
		s.Eventually(3*soon, func() string {
			if got := s.tells(h); got.Status.Trouble != "" || len(got.Peers) != len(s.nodes)-1 {
				return fmt.Sprintf("inspect on %s tells of %v, with trouble %q", h.Name, got.Peers, got.Status.Trouble)
			}
			return ""
		})
	}
}

// left: what a host had of the network is the others' no longer, and nothing stays.
func (s *shared) left() {
	s.T.Helper()
	for i, h := range s.ours() {
		h.Catenet("detach", "box")
		if i == 0 {
			h.Catenet("detach", "mate")
			s.unheard(h)
		} else {
			h.Catenet("network", "rm", "wide")
		}
		if left := h.MustRun("sh", "-c", "ip route show proto 159; ip -6 route show proto 159; ip -o link | grep flannel; ls "+h.Dir+"/subnet.env 2>/dev/null || true"); left != "" {
			s.T.Errorf("left behind on %s:\n%s", h.Name, left)
		}
		if i == len(s.ours())-1 {
			break
		}
		last := s.ours()[len(s.ours())-1]
		s.Eventually(3*soon, func() string {
			if got := s.tells(last).Peers; len(got) != len(s.nodes)-2-i {
				return fmt.Sprintf("%s has left, and %s tells of %v", h.Name, last.Name, got)
			}
			return ""
		})
	}
}

// unheard: with an etcd that does not answer the network goes at once, with a warning;
// another daemon gives back what the host had, when it is heard.
func (s *shared) unheard(h *lab.Host) {
	s.T.Helper()
	const word = "network wide is gone here, and this host's part of it is not given back yet"
	s.server.Freeze()
	if r := h.Try("network", "rm", "wide"); r.Code != 0 || r.Stdout != "wide\n" || !strings.Contains(r.Stderr, "catenet: warning: "+word) {
		s.T.Errorf("without an answer of etcd network rm ends with %d, and says %q and %q", r.Code, r.Stdout, r.Stderr)
	}
	if got := h.Catenet("info"); !strings.Contains(got, word) {
		s.T.Errorf("info says\n%s", got)
	}
	h.Kill()
	h.Daemon()
	s.server.Kill()
	s.server.Start()
	s.Eventually(3*soon, func() string {
		if got := h.Catenet("info"); strings.Contains(got, word) {
			return got
		}
		return ""
	})
}
