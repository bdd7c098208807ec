package e2e

import (
	"fmt"
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
	t    *testing.T
	file string // subnet.env
	etcd string
}

// flanneld starts it with flags.
func (s standIn) flanneld(flags ...string) *lab.Process {
	s.t.Helper()
	return s.Start(filepath.Join(lab.Binaries(s.t), "catenet"), append([]string{"-H", s.Socket(), "flanneld",
		"-etcd-endpoints=" + s.etcd, "-iface=eth0", "-subnet-file=" + s.file, "-healthz-port=8471"}, flags...)...)
}

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

// TestFlanneldStandsIn: catenet flanneld is ready when flanneld would be, waits as it
// does, comes back to the network that is there, and with other flags keeps the subnet.
func TestFlanneldStandsIn(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Join(a, b, "192.0.2.0/24")
	etcd := etcdserver.Start(t, etcdserver.Options{NS: b.NS.Path, Host: b.Addr4.String()})
	s := standIn{a, t, filepath.Join(a.Dir, "flannel", "subnet.env"), etcd.Endpoint}

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
	etcdctl("put", "/coreos.com/network/config", `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`)
	s.awaits(l, "readyz", "200")
	subnet := s.subnet()
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
	a.Catenet("network", "rm", "flannel") // by hand
	s.awaits(l, "readyz", "200")
	l.Eventually(soon, func() string {
		if networkID(a) == "" {
			return "the network does not come back"
		}
		return ""
	})
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

// TestFromFlanneldToItsStandIn: a host moves over from flanneld and keeps its subnet.
func TestFromFlanneldToItsStandIn(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Join(a, b, "192.0.2.0/24")
	etcd := etcdserver.Start(t, etcdserver.Options{NS: b.NS.Path, Host: b.Addr4.String()})
	a.Daemon()
	for _, c := range []struct{ backend, network, route string }{
		{"vxlan", "10.5.0.0/16", "dev flannel.1"}, {"host-gw", "10.6.0.0/16", "via 192.0.2.2"},
	} {
		prefix := "/" + c.backend
		b.MustRun("env", "ETCDCTL_API=3", "etcdctl", "--endpoints="+etcd.Endpoint, "put", prefix+"/config", fmt.Sprintf(`{"Network": %q, "Backend": {"Type": %q}}`, c.network, c.backend))
		theirs := flanneld.Start(t, a.NS.Path, etcd.Endpoint, "eth0", "--etcd-prefix", prefix)
		other := standIn{b, t, flanneld.Start(t, b.NS.Path, etcd.Endpoint, "eth0", "--etcd-prefix", prefix).SubnetFile, ""}
		s := standIn{a, t, theirs.SubnetFile, etcd.Endpoint}
		subnet, way := s.subnet(), strings.Replace(other.subnet(), ".1/", ".0/", 1)
		l.Eventually(soon, func() string {
			if a.Run("ip", "route", "show", way).Stdout == "" {
				return "flanneld has no route to " + way
			}
			return ""
		})
		theirs.Kill()
		flags := []string{"-etcd-prefix=" + prefix, "-network=" + c.backend}
		switch c.backend {
		case "vxlan":
			if out := s.flanneld(flags...).Wait(); !strings.Contains(out, "ip link del flannel.1") {
				t.Errorf("flanneld's device is in the way, and it says:\n%s", out)
			}
			a.MustRun("ip", "link", "del", "flannel.1")
		case "host-gw":
			a.MustRun("ip", "route", "flush", "root", c.network, "proto", "boot")
		}
		p := s.flanneld(flags...)
		s.awaits(l, "readyz", "200")
		if got := s.subnet(); got != subnet {
			t.Errorf("%s: the subnet is %s, and was flanneld's %s", c.backend, got, subnet)
		}
		l.Eventually(soon, func() string {
			if got := a.MustRun("ip", "route", "show", way); !strings.Contains(got, c.route) || !strings.Contains(got, "proto 159") {
				return fmt.Sprintf("%s: the way to the other host is %q", c.backend, got)
			}
			return ""
		})
		p.Signal(syscall.SIGTERM)
		a.Catenet("network", "rm", c.backend)
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
