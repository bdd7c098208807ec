package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/lab"
)

// harmed are three hosts of ours in one network, to which things happen while packets
// are on their way: the first and the second are joined to a switch as hosts 1 and 2
// of 192.0.2.0/24, the third as 3; a fourth comes later, and etcd is behind it.
type harmed struct {
	shared
	backend string
	sw      *lab.Host
	fourth  *lab.Host // not in the network
	restore func()    // etcd, to what it was when the first host alone was there
}

// registry and subnets are where the network is in etcd.
const (
	registry = "/coreos.com/network"
	subnets  = registry + "/subnets/"
)

// few packets are lost where the host itself is away for a moment; who waits for the next
// look, every ten seconds, loses some 900.
const few = 300

func newHarmed(t *testing.T, backend string, mtu int) *harmed {
	t.Helper()
	s := &harmed{shared: shared{Lab: lab.New(t), mtu: mtu}, backend: backend}
	for _, name := range []string{"a", "b", "c", "d"} {
		s.nodes = append(s.nodes, s.Host(name))
	}
	s.etcd = s.Host("etcd")
	s.sw = s.Switch(append(s.nodes, s.etcd), "192.0.2.0/24")
	s.server = etcdserver.Start(t, etcdserver.Options{NS: s.etcd.NS.Path, Host: s.etcd.Addr4.String()})
	s.configure(backend)
	for _, h := range s.nodes {
		h.Daemon()
	}
	return s
}

func (s *harmed) configure(backend string) {
	s.etcdctl("put", registry+"/config", `{`+wideNet+`, "Backend": {"Type": "`+backend+`"}}`)
}

// etcdctl asks etcd where no wire is in between.
func (s *harmed) etcdctl(args ...string) string {
	s.T.Helper()
	return s.etcd.MustRun("env", append([]string{"ETCDCTL_API=3", "etcdctl", "--endpoints=" + s.server.Unix}, args...)...)
}

// keys are those of all nodes in the registry.
func (s *harmed) keys() []string {
	return strings.Fields(s.etcdctl("get", "--prefix", "--keys-only", subnets))
}

// subnet is what the file of a host tells, as a key.
func (s *harmed) key(h *lab.Host) string {
	subnet := standIn{h, nil, h.Dir + "/subnet.env", ""}.subnet()
	return subnets + strings.Replace(subnet, ".1/", ".0-", 1)
}

// known is the record of a host, and how often it was written.
func (s *harmed) known(h *lab.Host) (record string, version int) {
	for line := range strings.Lines(s.etcdctl("get", "-w", "fields", s.key(h))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " : ")
		switch name {
		case `"Value"`:
			record = value
		case `"Version"`:
			version, _ = strconv.Atoi(value)
		}
	}
	return record, version
}

// during has something happen while the box of the first host sends that of the second
// a thousand packets a second, of which at most so many are lost.
func (s *harmed) during(what string, most int, harm func()) {
	s.T.Helper()
	a := s.nodes[0]
	ping := a.Ping(s.ns(a, "box"), s.boxes[1].String(), 60)
	enough := func(n int) {
		s.T.Helper()
		s.Eventually(soon, func() string {
			if got := ping.Answered(); got < n {
				return fmt.Sprintf("%s: %d pings are answered, and not %d", what, got, n)
			}
			return ""
		})
	}
	enough(20)
	harm()
	enough(ping.Answered() + 100)
	sent, lost := ping.Stop()
	if s.T.Logf("%s, %s: %d of %d lost", s.backend, what, lost, sent); lost > most {
		s.T.Errorf("%s: %d of %d packets were lost", what, lost, sent)
	}
}

// sees waits until a host tells of these peers, by address, and of trouble with these
// words; none: of no trouble.
func (s *harmed) sees(h *lab.Host, peers string, trouble ...string) {
	s.T.Helper()
	s.Eventually(3*soon, func() string {
		got, hosts := s.tells(h), []string(nil)
		for _, p := range got.Peers {
			hosts = append(hosts, strings.TrimPrefix(p.IP, "192.0.2."))
		}
		wrong := strings.Join(hosts, " ") != peers || (got.Status.Trouble == "") != (len(trouble) == 0)
		for _, word := range trouble {
			wrong = wrong || !strings.Contains(got.Status.Trouble, word)
		}
		if wrong {
			return fmt.Sprintf("%s tells of %v with trouble %q, and not of %s and %q", h.Name, hosts, got.Status.Trouble, peers, trouble)
		}
		return ""
	})
}

// Whatever happens to etcd, to a host's address or to the underlay, boxes go on
// reaching each other.
func TestFlannelHarmed(t *testing.T) {
	t.Parallel()
	for backend, mtu := range map[string]int{"vxlan": 1450, "host-gw": 1500, "udp": 1472} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			s := newHarmed(t, backend, mtu)
			s.joined()
			s.forgotten()
			s.restored()
			s.deleted()
			s.reconfigured()
			s.claimed()
			s.lowered()
			s.resized()
			s.moved()
		})
	}
}

// joined: a host has the subnet that its file tells of; of two that want one and come
// at once one has it; who finds his taken meanwhile has another. Each file says so.
func (s *harmed) joined() {
	s.T.Helper()
	join := func(h *lab.Host, third int) lab.Result {
		wish := fmt.Sprintf("FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.%d.1/24\n", third)
		if err := os.WriteFile(h.Dir+"/subnet.env", []byte(wish), 0o644); err != nil {
			s.T.Error(err)
		}
		return h.Try(append(s.create(h), "wide")...)
	}
	good := func(r lab.Result) {
		s.T.Helper()
		if r.Code != 0 {
			s.T.Fatal(r.Text())
		}
	}
	a, b, c, d := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	good(join(a, 9))
	s.server.Kill()
	s.restore = s.server.Snapshot()
	s.server.Start()
	other := make(chan lab.Result)
	go func() { other <- join(b, 77) }()
	good(join(c, 77))
	good(<-other)
	good(join(d, 9))
	for _, h := range s.nodes {
		s.Eventually(soon, func() string {
			if record, _ := s.known(h); !strings.Contains(record, h.Addr4.String()) {
				return fmt.Sprintf("the file of %s tells of %s, which is %q", h.Name, s.key(h), record)
			}
			return ""
		})
	}
	if a, b, c := s.key(a), s.key(b), s.key(c); a != subnets+"10.5.9.0-24" || b != subnets+"10.5.77.0-24" && c != subnets+"10.5.77.0-24" {
		s.T.Errorf("the hosts have %s, %s and %s", a, b, c)
	}
	d.Catenet("network", "rm", "wide")
	s.nodes = s.nodes[:3]
	for _, h := range s.nodes {
		s.attach(h, "box")
		h.Serve(s.ns(h, "box"), 80, h.Name)
		s.know(status(h, "box").Endpoints[0].IPv4.Addr(), status(h, "box").Endpoints[0].IPv6.Addr())
	}
	s.fourth = d
	s.everyPair("at first")
	s.sees(a, "2 3")
}

// forgotten: a host is cut off from etcd, which forgets what happens meanwhile.
func (s *harmed) forgotten() {
	s.T.Helper()
	a := s.nodes[0]
	const guest = subnets + "10.5.250.0-24"
	s.during("etcd forgets what a host has missed", 0, func() {
		s.server.Kill() // which ends the watch at once
		a.MustRun("nft", "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; add rule inet cut out tcp dport 2379 reject with tcp reset")
		s.server.Start()
		s.sees(a, "2 3", "etcd")
		s.etcdctl("put", guest, s.record("192.0.2.250"))
		s.compact()
		a.MustRun("nft", "delete table inet cut")
		s.sees(a, "2 3 250")
		s.etcdctl("del", guest)
		s.sees(a, "2 3")
	})
}

// record is one of a node as such a network has it.
func (s *harmed) record(at string) string {
	switch s.backend {
	case "udp":
		return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null}`, at)
	case "vxlan":
		return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:fa"}}`, at)
	}
	return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null,"BackendType":%q}`, at, s.backend)
}

// compact has etcd forget all that was before now.
func (s *harmed) compact() {
	s.T.Helper()
	_, rest, _ := strings.Cut(s.etcdctl("get", "-w", "fields", registry+"/config"), `"Revision" : `)
	revision, _, _ := strings.Cut(rest, "\n")
	s.etcdctl("compact", "--physical", revision)
}

// restored: etcd knows again what it did when the first host alone was there.
func (s *harmed) restored() {
	s.T.Helper()
	before := s.keys()
	s.during("etcd is restored", 0, func() {
		s.server.Kill()
		s.restore()
		s.server.Start()
		s.Eventually(3*soon, func() string {
			if now := s.keys(); !slices.Equal(now, before) {
				return fmt.Sprintf("etcd had the keys %q, and after it was restored has %q", before, now)
			}
			return ""
		})
		s.sees(s.nodes[0], "2 3")
		s.sees(s.nodes[1], "1 3")
	})
	s.everyPair("after etcd was restored")
}

// deleted: a hand deletes a host's key, and then all.
func (s *harmed) deleted() {
	s.T.Helper()
	b := s.nodes[1]
	before := s.keys()
	was, _ := s.known(b)
	back := func() string {
		if is, version := s.known(b); is != was || version != 1 || !slices.Equal(s.keys(), before) {
			return fmt.Sprintf("the key was %s, and is %q, written %d times; keys %q", was, is, version, s.keys())
		}
		return ""
	}
	for what, args := range map[string][]string{"its key": {s.key(b)}, "all keys": {"--prefix", subnets}} {
		s.during(what+" deleted", 0, func() {
			s.etcdctl(append([]string{"del"}, args...)...)
			s.Eventually(soon, back)
		})
		s.everyPair("after " + what + " was deleted")
	}
}

// reconfigured: nobody goes by another config before it is told to, and all tell of it.
func (s *harmed) reconfigured() {
	s.T.Helper()
	a := s.nodes[0]
	s.during("the config changes", 0, func() {
		for config, says := range map[string]string{`{"Network": "10.6.0.0/16"}`: "10.6.0.0/16", `{"Network": "nowhere"}`: "flannel config: Network"} {
			s.etcdctl("put", registry+"/config", config)
			s.sees(a, "2 3", registry+"/config", says)
			if info := a.Catenet("info"); !strings.Contains(info, says) {
				s.T.Errorf("info does not tell of the config:\n%s", info)
			}
		}
		s.etcdctl("del", registry+"/config")
		s.sees(a, "2 3", registry+"/config", "is gone")
		s.configure(s.backend)
		s.sees(a, "2 3")
	})
}

// claimed: a fourth host says that it is the third. Both are named, neither writes over
// the other, and the others notice nothing.
func (s *harmed) claimed() {
	s.T.Helper()
	c, d := s.nodes[2], s.fourth
	if s.backend == "host-gw" {
		d.Refused([]string{"public-ip", "192.0.2.3"}, append(s.create(d), "-o", "public-ip=192.0.2.3", "wide")...)
		return
	}
	s.during("two claim one address", 0, func() {
		d.Catenet(append(s.create(d), "-o", "public-ip=192.0.2.3", "wide")...)
		s.sees(c, "1 2", "another node claims 192.0.2.3 too", strings.TrimPrefix(s.key(d), subnets))
		if info := c.Catenet("info"); !strings.Contains(info, "another node claims 192.0.2.3") {
			s.T.Errorf("info does not tell of who else is 192.0.2.3:\n%s", info)
		}
		s.sees(d, "1 2")
		_, before := s.known(d)
		// Whatever happens in the registry is a reason to look at one's own key.
		s.etcdctl("put", subnets+"10.5.250.0-24", s.record("192.0.2.250"))
		s.sees(c, "1 2 250", "another node claims")
		s.etcdctl("del", subnets+"10.5.250.0-24")
		s.sees(d, "1 2")
		s.sees(c, "1 2", "another node claims")
		if _, version := s.known(d); version != before {
			s.T.Errorf("the key of both was written %d times, and then %d times", before, version)
		}
		d.Catenet("network", "rm", "wide")
		s.sees(c, "1 2")
	})
	s.everyPair("after one of two that claimed one address has left")
}

// lowered: the first host's link goes down, and with it routes, without a word.
func (s *harmed) lowered() {
	s.T.Helper()
	s.during("the underlay's link is set down and up", few, func() {
		s.nodes[0].MustRun("sh", "-c", "ip link set eth0 down; ip link set eth0 up")
		s.everyPair("after the link was down")
	})
}

// resized: the underlay takes smaller packets, bigger ones, and those of before.
func (s *harmed) resized() {
	s.T.Helper()
	overhead, most := 1500-s.mtu, 0
	if s.backend == "udp" { // whose device is opened anew
		most = few
	}
	s.during("the underlay takes other packets", most, func() {
		for _, mtu := range []int{1400, 1600, 1500} {
			for i, h := range s.nodes {
				s.sw.MustRun("ip", "link", "set", fmt.Sprintf("port%d", i), "mtu", strconv.Itoa(mtu))
				h.MustRun("ip", "link", "set", "eth0", "mtu", strconv.Itoa(mtu))
			}
			s.mtu = mtu - overhead
			for _, h := range s.nodes {
				s.Eventually(soon, func() string {
					file, err := os.ReadFile(h.Dir + "/subnet.env")
					box := h.Run("ip", "-n", s.Name(h.Name+"-box"), "-o", "link", "show", "eth0").Stdout
					if want := fmt.Sprintf("FLANNEL_MTU=%d\n", s.mtu); err != nil || !strings.Contains(string(file), want) || !strings.Contains(box, fmt.Sprintf("mtu %d ", s.mtu)) {
						return fmt.Sprintf("%s: the underlay takes %d bytes, the file says\n%s(%v), and the box has %s", h.Name, mtu, file, err, box)
					}
					return ""
				})
			}
			s.edge(0)
		}
	})
}

// moved: the second host is given another address, and with it the others have another
// way to the same boxes.
func (s *harmed) moved() {
	s.T.Helper()
	b := s.nodes[1]
	before := s.keys()
	s.during("a host has another address", few, func() {
		b.MustRun("sh", "-c", "ip addr del 192.0.2.2/24 dev eth0; ip addr add 192.0.2.102/24 dev eth0")
		s.sees(s.nodes[0], "3 102")
		s.sees(s.nodes[2], "1 102")
		s.sees(b, "1 3")
	})
	record, _ := s.known(b)
	if now := s.keys(); !slices.Equal(now, before) || !strings.Contains(record, "192.0.2.102") {
		s.T.Errorf("the keys were %q, and are %q; that of b is %s", before, now, record)
	}
	s.everyPair("after a host has moved")
}
