package crash

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/truth"
)

// Host ports that the tests publish, or leave free.
const (
	keeperPort = 8080
	tcpPort    = 8081
	udpPort    = 8082
)

// newSite makes a host with a daemon, and on it what no operation touches: two
// networks, one of them internal, and keeper, an attached namespace in which
// somebody answers on port 80, published.
func newSite(t *testing.T) *site {
	t.Helper()
	l := lab.New(t)
	s := &site{Lab: l, h: l.Host("a"), netns: l.Name("n")}
	s.dir = filepath.Join(s.h.Dir, "failpoints")
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.h.DaemonEnv = []string{"CATENET_FAILPOINTS=" + s.dir}
	w, err := truth.New(s.h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Client.Close)
	plugin := filepath.Join(s.h.Dir, "plugin.sock")
	s.args = []string{"--docker-plugin=" + plugin, "--docker-host="}
	s.truth, s.plugin = w, lab.NewPlugin(plugin)
	t.Cleanup(s.plugin.Close)
	t.Cleanup(s.noLate)
	w.Ports = []uint16{keeperPort, tcpPort, udpPort}
	for _, name := range []string{s.netns, s.keeper()} {
		s.h.MustRun("ip", "netns", "add", name)
		s.h.MustRun("ip", "-n", name, "link", "set", "lo", "up") // or the first attach would do it, and no later one
		t.Cleanup(func() { s.h.MustRun("ip", "netns", "del", name) })
		w.Netns = append(w.Netns, name)
	}
	s.answer()
	s.start()
	s.furnish()
	return s
}

func (s *site) keeper() string { return s.Name("keeper") }

// answer has somebody answer on port 80 in the keeper's namespace.
func (s *site) answer() {
	err := kerneltest.In("/run/netns/"+s.keeper(), func() error {
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		s.T.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed
				}
				fmt.Fprintln(c, "keeper")
				c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		s.T.Fatal(err)
	}
}

// furnish makes what no operation touches, where it is not there.
func (s *site) furnish() {
	s.T.Helper()
	s.network("front", "10.91.0.0/24", "fd00:91::/64")
	s.network("back", "10.92.0.0/24")
	if there, _ := s.running("keeper"); !there {
		s.must(s.attach("keeper", s.keeper(), []catenet.PortSpec{port(catenet.TCP, keeperPort, 80)}, "front"))
	}
}

// network makes a network unless it is there; back is internal.
func (s *site) network(name string, subnets ...string) {
	s.T.Helper()
	if _, err := s.truth.Client.Network(ctx, name); err == nil {
		return
	}
	s.must(s.create(name, subnets...))
}

func (s *site) create(name string, subnets ...string) error {
	spec := catenet.NetworkSpec{Name: name, Internal: name == "back", IPv6: len(subnets) > 1}
	for _, subnet := range subnets {
		spec.Pools = append(spec.Pools, catenet.Pool{Subnet: netip.MustParsePrefix(subnet)})
	}
	_, _, err := s.truth.Client.CreateNetwork(ctx, spec)
	return err
}

// attach attaches a named namespace to networks.
func (s *site) attach(name, netns string, ports []catenet.PortSpec, networks ...string) error {
	spec := catenet.SandboxSpec{Name: name, Owner: catenet.OwnerAttach, Netns: "/run/netns/" + netns, Ports: ports}
	for _, n := range networks {
		spec.Networks = append(spec.Networks, catenet.EndpointSpec{Network: n, Aliases: []string{"alias"}})
	}
	_, err := s.truth.Client.CreateSandbox(ctx, spec, true)
	return err
}

// gone removes a sandbox, if it is there, and waits until its links are buried:
// who attaches its namespace before gets other names of interfaces.
func (s *site) gone(name string) {
	s.T.Helper()
	sb, err := s.truth.Client.Sandbox(ctx, name)
	if catenet.IsNotFound(err) {
		return
	}
	s.must(err)
	s.must(s.truth.Client.Remove(ctx, name, true))
	if sb.Netns == "" || sb.Expected {
		return
	}
	s.Eventually(soon, func() (left string) {
		s.must(kerneltest.In(sb.Netns, func() error {
			links, err := net.Interfaces()
			if len(links) > 1 {
				left = "there is " + links[1].Name
			}
			return err
		}))
		return left
	})
}

func (s *site) must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatalf("%v\n%s", err, s.h.Log())
	}
}

// port is one that is published on all addresses.
func port(proto catenet.Proto, host, inside uint16) catenet.PortSpec {
	return catenet.PortSpec{Proto: proto, HostPort: host, HostPortEnd: host, Port: inside}
}

// works wants the keeper to answer: at the port that it publishes, and to
// every sandbox in its network.
func (s *site) works(when string) {
	s.T.Helper()
	keeper, err := s.truth.Client.Sandbox(ctx, "keeper")
	if catenet.IsNotFound(err) {
		return // not on this site, or not any more: settled knows
	}
	s.must(err)
	s.reaches(when, s.h.NS.Path, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), keeperPort))
	sandboxes, err := s.truth.Client.Sandboxes(ctx, false)
	s.must(err)
	for _, sb := range sandboxes {
		for _, ep := range sb.Endpoints {
			if ep.Spec.Network == "front" && sb.Name != "keeper" && !sb.Expected {
				s.reaches(when, sb.NetnsPath, netip.AddrPortFrom(keeper.Endpoints[0].IPv4.Addr(), 80))
				s.reaches(when, sb.NetnsPath, netip.AddrPortFrom(keeper.Endpoints[0].IPv6.Addr(), 80))
			}
		}
	}
}

// reaches wants the keeper to answer at an address, asked from a namespace.
func (s *site) reaches(when, ns string, to netip.AddrPort) {
	s.T.Helper()
	err := kerneltest.In(ns, func() error {
		c, err := net.DialTimeout("tcp", to.String(), soon)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
			return err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && line != "keeper\n" {
			err = fmt.Errorf("it says %q", line)
		}
		return err
	})
	if err != nil {
		s.T.Errorf("killed %s: from %s the keeper is not reached at %s: %v", when, ns, to, err)
	}
}
