package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/flanneld"
	"github.com/catenet/catenet/test/lab"
)

// standIn is a host with catenet flanneld.
type standIn struct {
	*lab.Host
	t    testing.TB
	file string // subnet.env
	etcd string
}

// flanneld starts it with flags. Of etcd's addresses the first is nobody's, as it mostly
// is of flanneld's usual two.
func (s standIn) flanneld(flags ...string) *lab.Process {
	s.t.Helper()
	return s.Start("env", append([]string{"NOTIFY_SOCKET=" + s.manager(), filepath.Join(lab.Binaries(s.t), "catenet"), "-H", s.Socket(), "flanneld",
		"-etcd-endpoints=http://127.0.0.1:4001," + s.etcd, "-iface=eth0", "-subnet-file=" + s.file, "-healthz-port=8471"}, flags...)...)
}

// manager is where the service manager is told.
func (s standIn) manager() string { return filepath.Join(s.Dir, "notify") }

// health asks for the status and the text of /healthz or /readyz.
func (s standIn) health(path string) string {
	return strings.TrimSpace(s.Run("curl", "-s", "-m", "2", "-w", " %{http_code}", "http://127.0.0.1:8471/"+path).Stdout)
}

func (s standIn) awaits(l *lab.Lab, path, code string) {
	s.t.Helper()
	l.Eventually(soon, func() string {
		if got := s.health(path); !strings.HasSuffix(got, code) {
			return fmt.Sprintf("%s: /%s is %q, and not %s", s.Name, path, got, code)
		}
		return ""
	})
}

func (s standIn) subnet() string {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return err.Error()
	}
	_, after, _ := strings.Cut(string(text), "FLANNEL_SUBNET=")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// gateway is the address that the file tells of.
func (s standIn) gateway() string {
	addr, _, _ := strings.Cut(s.subnet(), "/")
	return addr
}

// TestFlanneldStandsIn: catenet flanneld is ready when flanneld would be, waits as it
// does, comes back to the network that is there, and with other flags keeps the subnet.
func TestFlanneldStandsIn(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Join(a, b, "192.0.2.0/24")
	etcd := etcdserver.Start(t, etcdserver.Options{NS: b.NS.Path, Host: b.Addr4.String()})
	s := standIn{a, t, filepath.Join(a.Dir, "flannel", "subnet.env"), etcd.Endpoint}

	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.manager(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	heard := make(chan string, 1)
	go func() {
		text := make([]byte, 100)
		n, _ := told.Read(text)
		heard <- string(text[:n]) + " with " + s.subnet()
	}()
	p := s.flanneld()
	s.awaits(l, "healthz", "503") // no daemon
	if !strings.Contains(p.Output(), "systemctl start catenet") {
		t.Errorf("it says nothing of the daemon that is away:\n%s", p.Output())
	}
	a.Daemon()
	s.awaits(l, "healthz", "200")
	if got := s.health("readyz"); !strings.HasSuffix(got, "503") {
		t.Errorf("without a config /readyz is %q", got)
	}
	etcdctl := func(args ...string) string {
		return b.MustRun("env", append([]string{"ETCDCTL_API=3", "etcdctl", "--endpoints=" + etcd.Endpoint}, args...)...)
	}
	etcdctl("put", "/other/config", `{"Network": "10.7.0.0/16", "Backend": {"Type": "host-gw"}}`)
	etcdctl("put", "/coreos.com/network/config", `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`)
	s.awaits(l, "readyz", "200")
	subnet := s.subnet()
	if got := <-heard; got != "READY=1 with "+subnet {
		t.Errorf("the service manager was told %q", got)
	}
	if !strings.HasPrefix(subnet, "10.5.") || !strings.Contains(p.Output(), "backend=vxlan mtu=1450") {
		t.Errorf("the subnet is %q, and it says:\n%s", subnet, p.Output())
	}

	before := networkID(a)
	p.Signal(syscall.SIGTERM)
	if got := a.MustRun("ip", "-br", "link", "show", "flannel.1"); got == "" || networkID(a) != before {
		t.Errorf("when it ends the network goes as well")
	}
	p = s.flanneld()
	s.awaits(l, "readyz", "200")
	if networkID(a) != before {
		t.Error("started again, it has made another network")
	}
	a.Kill()
	s.awaits(l, "healthz", "503")
	a.Daemon()
	s.awaits(l, "healthz", "200")
	p.Signal(syscall.SIGINT)

	p = s.flanneld("-ip-masq")
	s.awaits(l, "readyz", "200")
	if s.subnet() != subnet || networkID(a) == before {
		t.Errorf("with another flag the subnet is %q, and was %q:\n%s", s.subnet(), subnet, p.Output())
	}
	if keys := strings.Fields(etcdctl("get", "--prefix", "--keys-only", "/coreos.com/network/subnets/")); len(keys) != 1 {
		t.Errorf("in etcd there are %q", keys)
	}
	if out := s.flanneld("-network=second", "-healthz-port=0", "-etcd-prefix=/other").Wait(); !strings.Contains(out, "--subnet-file of catenet flanneld") {
		t.Errorf("a second network that would share the subnet file:\n%s", out)
	}
	if out := s.flanneld("-healthz-port=0", "-etcd-prefix=/other").Wait(); !strings.Contains(out, "another catenet flanneld") {
		t.Errorf("a second one for the same network:\n%s", out)
	}
	etcdctl("put", "/coreos.com/network/config", `{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}`)
	l.Eventually(soon, func() string {
		if !strings.Contains(p.Output(), "has been changed") {
			return "it does not tell that the config is another one:\n" + p.Output()
		}
		return ""
	})
	a.Catenet("network", "rm", "flannel") // by hand
	s.awaits(l, "readyz", "200")
	l.Eventually(soon, func() string {
		if r := a.Try("network", "inspect", "flannel"); r.Code != 0 || !strings.Contains(r.Stdout, "host-gw") {
			return "the network does not come back by the config as it is now: " + r.Text()
		}
		return ""
	})
	p.Signal(syscall.SIGKILL)
	p = s.flanneld("-etcd-prefix=/other")
	s.awaits(l, "readyz", "200")
	if got := s.subnet(); !strings.HasPrefix(got, "10.7.") {
		t.Errorf("of another network in etcd the subnet is %q", got)
	}
	p.Signal(syscall.SIGTERM)
	a.Catenet("network", "rm", "flannel")
	a.Catenet("network", "create", "flannel")
	p = s.flanneld()
	if out := p.Wait(); !strings.Contains(out, "--network chooses another name") {
		t.Errorf("a network of that name that is none of flanneld's:\n%s", out)
	}

	for _, step := range []string{"user add root:secret", "user grant-role root root", "auth enable"} {
		etcdctl(strings.Fields(step)...)
	}
	if out := s.flanneld("-network=known", "-etcd-username=root", "-etcd-password=wrong").Wait(); !strings.Contains(out, "catenet: ") {
		t.Errorf("with a password that is wrong:\n%s", out)
	}
	p = s.flanneld("-network=known", "-etcd-username=root", "-etcd-password=secret")
	s.awaits(l, "readyz", "200")
	if info, err := os.Stat(filepath.Join(filepath.Dir(s.file), "known.etcd-user")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the password's file is %v, %v", info, err)
	}
	if shown := a.Catenet("network", "inspect", "known"); strings.Contains(shown, "secret") {
		t.Errorf("inspect shows the password:\n%s", shown)
	}
	p.Signal(syscall.SIGTERM)
}

// TestFromFlanneldToItsStandIn: a host moves over from flanneld and back, and no packet
// of its containers' is lost; nobody else's record changes, and its own not by a byte.
func TestFromFlanneldToItsStandIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config  string
		devices []string // what flanneld leaves
	}{
		"vxlan":   {`{` + wideDual + `, "Backend": {"Type": "vxlan"}}`, []string{"flannel.1", "flannel-v6.1"}},
		"host-gw": {`{` + wideDual + `, "Backend": {"Type": "host-gw"}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMove(t, c.config)
			m.thereAndBack(c.devices)
			m.again(c.devices)
		})
	}
}

// TestFromFlanneldOverUDP: its device goes with it, and another one comes.
func TestFromFlanneldOverUDP(t *testing.T) {
	t.Parallel()
	m := newMove(t, `{`+wideNet+`, "Backend": {"Type": "udp"}}`)
	records, s := m.records(), standIn{m.a, t, m.file, m.server.Endpoint}
	if out := s.flanneld("-healthz-port=0").Wait(); !strings.Contains(out, "8285") {
		t.Errorf("while flanneld has the port it says:\n%s", out)
	}
	m.theirs.Kill()
	p := s.flanneld()
	s.awaits(m.Lab, "readyz", "200")
	m.reached("over to catenet")
	if got := m.records(); got != records {
		t.Errorf("the registry has\n%s\nand had\n%s", got, records)
	}
	p.Signal(syscall.SIGTERM)
	m.giveBack()
}

// move is two hosts with flanneld and a box each, of which the first moves over.
type move struct {
	*shared
	a      *lab.Host
	theirs *flanneld.Daemon // on a
	file   string           // a's subnet.env
}

func newMove(t *testing.T, config string) *move {
	t.Helper()
	m := &move{shared: &shared{Lab: lab.New(t), mtu: 1450}}
	m.a, m.etcd = m.Host("a"), m.Host("etcd")
	m.nodes = []*lab.Host{m.a, m.Host("b")}
	m.Switch(append([]*lab.Host{m.etcd}, m.nodes...), "192.0.2.0/24", "2001:db8::/64")
	m.server = etcdserver.Start(t, etcdserver.Options{NS: m.etcd.NS.Path, Host: "192.0.2.1"})
	m.etcdctl("put", "/coreos.com/network/config", config)
	m.a.Daemon()
	for _, h := range m.nodes {
		h.MustRun("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
		d := m.start(h)
		m.byHand(h, d.SubnetFile)
		if h == m.a {
			m.theirs, m.file = d, d.SubnetFile
		}
	}
	m.reached("with flanneld alone")
	return m
}

// start starts a flanneld.
func (m *move) start(h *lab.Host) *flanneld.Daemon {
	return flanneld.Start(m.T, h.NS.Path, m.server.Endpoint, "eth0", "--public-ip", h.Addr4.String(), "--public-ipv6", h.Addr6.String())
}

func (m *move) records() string { return m.etcdctl("get", "--prefix", "/coreos.com/network/subnets/") }

// lossless runs a stream of pings of each family between the boxes, both ways, while
// something is done.
func (m *move) lossless(what string, do func()) {
	m.T.Helper()
	var pings []*lab.Ping
	for i, h := range m.nodes {
		for _, boxes := range [][]netip.Addr{m.boxes, m.six} {
			pings = append(pings, h.Ping(m.ns(h, "box"), boxes[1-i].String(), 60))
		}
	}
	answered := func(more int) {
		m.T.Helper()
		for _, p := range pings {
			want := p.Answered() + more
			m.Eventually(soon, func() string {
				if got := p.Answered(); got < want {
					return fmt.Sprintf("%s: %d pings are answered, want %d", what, got, want)
				}
				return ""
			})
		}
	}
	answered(50)
	do()
	answered(200)
	for _, p := range pings {
		if sent, lost := p.Stop(); lost != 0 {
			m.T.Errorf("%s: %d of %d pings were lost", what, lost, sent)
		}
	}
}

func (m *move) thereAndBack(devices []string) {
	m.T.Helper()
	records := m.records()
	s := standIn{m.a, m.T, m.file, m.server.Endpoint}
	flags := []string{"-public-ip=" + m.a.Addr4.String(), "-public-ipv6=" + m.a.Addr6.String()}
	if len(devices) > 0 {
		if out := s.flanneld(flags...).Wait(); !strings.Contains(out, "systemctl disable --now flanneld") {
			m.T.Errorf("while flanneld runs it says:\n%s", out)
		}
	}
	var p *lab.Process
	m.lossless("to catenet", func() {
		m.theirs.Kill()
		p = s.flanneld(flags...)
		m.T.Cleanup(func() {
			if m.T.Failed() {
				m.T.Logf("catenet flanneld said:\n%s", p.Output())
			}
		})
		s.awaits(m.Lab, "readyz", "200")
		m.ours(devices)
	})
	if got := m.records(); got != records {
		m.T.Errorf("the registry has\n%s\nand had\n%s", got, records)
	}
	m.lossless("back to flanneld", func() {
		p.Signal(syscall.SIGTERM)
		m.a.Stop()
		m.theirs = m.start(m.a)
	})
	if got := m.records(); got != records {
		m.T.Errorf("back, the registry has\n%s\nand had\n%s", got, records)
	}
}

// again: a daemon that comes back takes up what it had; what it gives up flanneld makes
// anew; and a network with containers of our own takes over from it too.
func (m *move) again(devices []string) {
	m.T.Helper()
	m.theirs.Kill()
	m.a.Daemon()
	m.ours(devices)
	m.reached("with the daemon again")
	m.giveBack()
	records := m.records()
	m.theirs.Kill()
	create := []string{"network", "create", "-d", "flannel", "-o", "etcd=" + m.server.Endpoint, "-o", "iface=eth0", "-o", "subnet-file=" + m.file, "wide"}
	m.a.Refused([]string{"the address " + standIn{m.a, m.T, m.file, ""}.gateway(), "catenet flanneld"}, create...)
	if got := m.records(); got != records {
		m.T.Errorf("a network that is refused has changed the registry to\n%s\nfrom\n%s", got, records)
	}
	m.a.MustRun("ip", "link", "del", "hand0")
	m.a.Catenet(create...)
	if got := m.records(); got != records {
		m.T.Errorf("a network of our own has it\n%s\nand it was\n%s", got, records)
	}
	m.attach(m.a, "own")
	m.Eventually(soon, func() string {
		if got := m.a.Ask(m.ns(m.a, "own"), "tcp", netip.AddrPortFrom(m.boxes[1], 80).String()); !strings.HasPrefix(got, "b 10.5.") {
			return fmt.Sprintf("a container of our own hears %q", got)
		}
		return ""
	})
}

// reached waits until the boxes reach each other, by pings: a connection that is cut off
// when it is half made would last.
func (m *move) reached(when string) {
	m.T.Helper()
	for i, h := range m.nodes {
		m.Eventually(soon, func() string {
			if r := h.Run("nsenter", "--net="+m.ns(h, "box"), "ping", "-n", "-c1", "-W1", m.boxes[1-i].String()); r.Code != 0 {
				return when + ": " + r.Text()
			}
			return ""
		})
	}
}

// giveBack removes the network, and flanneld makes it anew with the same subnet.
func (m *move) giveBack() {
	m.T.Helper()
	m.a.MustRun("cp", m.file, m.file+".kept")
	m.a.Catenet("network", "rm", "flannel")
	m.a.MustRun("mv", m.file+".kept", m.file)
	m.theirs = flanneld.StartWith(m.T, m.file, m.a.NS.Path, m.server.Endpoint, "eth0", "--public-ip", m.a.Addr4.String(), "--public-ipv6", m.a.Addr6.String())
	m.reached("with flanneld again")
}

// ours waits until all that leads to the other host is the daemon's.
func (m *move) ours(devices []string) {
	m.T.Helper()
	m.Eventually(soon, func() string {
		left := m.a.MustRun("sh", "-c", "ip route show root 10.5.0.0/16; ip -6 route show root fd00:5::/48")
		for _, line := range strings.Split(strings.TrimSpace(left), "\n") {
			if !strings.Contains(line, "proto 159") && !strings.Contains(line, "hand0") && !strings.Contains(line, "proto kernel") {
				return "there is a route of flanneld's still: " + line
			}
		}
		return ""
	})
	for _, d := range devices {
		if got := m.a.MustRun("ip", "link", "show", d); !strings.Contains(got, "alias catenet:") {
			m.T.Errorf("%s is not the daemon's:\n%s", d, got)
		}
	}
}

// networkID is that of the network flannel; "" for none.
func networkID(h *lab.Host) string {
	r := h.Try("network", "ls", "--format", "{{.Name}} {{.ID}}", "--no-trunc")
	for _, line := range strings.Split(r.Stdout, "\n") {
		if id, ok := strings.CutPrefix(line, "flannel "); ok {
			return id
		}
	}
	return ""
}
