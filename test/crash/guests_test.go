package crash

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// What dockerd calls its network and its endpoint in it.
var (
	dockerNetwork  = strings.Repeat("d0", 32)
	dockerEndpoint = strings.Repeat("e0", 32)
	dockerSubnet   = netip.MustParsePrefix("10.96.0.0/24")
	dockerAddr     = netip.MustParseAddr("10.96.0.9")
)

// guests are what runtimes ask for that make their containers themselves.
func guests() []operation {
	claim := func(s *site) error { return s.plugin.Pool(dockerSubnet) }
	unclaimed := func(s *site) { s.gone("subject"); s.undocked() }
	network := func(s *site) error { return s.plugin.Network(dockerNetwork, dockerSubnet) }
	docked := func(s *site) { unclaimed(s); s.must(claim(s)); s.must(network(s)) }
	lease := func(s *site) error { _, err := s.plugin.Address(dockerSubnet, dockerAddr); return err }
	join := func(s *site) error {
		if err := lease(s); err != nil {
			return err
		}
		_, err := s.plugin.Join(dockerNetwork, dockerEndpoint, netip.PrefixFrom(dockerAddr, 24), s.late())
		return err
	}
	joined := func(s *site) { docked(s); s.must(join(s)) }
	came := func(s *site) { joined(s); s.must(s.come()) }
	return []operation{
		{name: "claim", before: unclaimed, do: claim},
		{name: "release a claim", before: func(s *site) { unclaimed(s); s.must(claim(s)) },
			do: func(s *site) error { return s.plugin.NoPool(dockerSubnet) }},
		{name: "create a network of what is claimed", before: func(s *site) { unclaimed(s); s.must(claim(s)) }, do: network},
		{name: "lease", before: docked, do: lease},
		{name: "give a lease back", before: func(s *site) { docked(s); s.must(lease(s)) },
			do: func(s *site) error { return s.plugin.NoAddress(dockerSubnet, dockerAddr) }},
		{name: "join a namespace that is to come", partly: true, before: docked, do: func(s *site) error {
			if err := join(s); err != nil {
				return err
			}
			return s.plugin.Publish(dockerNetwork, dockerEndpoint, tcpPort)
		}},
		{name: "a namespace comes", before: joined, do: (*site).come, after: (*site).taken},
		{name: "leave a namespace that has come", partly: true, before: came,
			do: func(s *site) error { return s.plugin.Leave(dockerNetwork, dockerEndpoint) }},
		{name: "a namespace that has come goes", before: came, do: func(s *site) error {
			s.noLate()
			return s.plugin.Leave(dockerNetwork, dockerEndpoint)
		}, partly: true},
		{name: "attach with ports that others hold", only: "store.update", before: func(s *site) { s.gone("subject") }, do: func(s *site) error {
			_, err := s.truth.Client.CreateSandbox(ctx, catenet.SandboxSpec{Name: "subject", Owner: catenet.OwnerPodman, Netns: "/run/netns/" + s.netns,
				Networks: []catenet.EndpointSpec{{Network: "front"}}, Ports: ports, PortsHeld: true}, true)
			return err
		}},
	}
}

// late is where a namespace is to come.
func (s *site) late() string { return "/run/netns/" + s.Name("late") }

// come makes that namespace, takes the link in as dockerd does, and waits until
// the daemon has noticed.
func (s *site) come() error {
	name := filepath.Base(s.late())
	s.h.MustRun("ip", "netns", "add", name)
	s.h.MustRun("ip", "-n", name, "link", "set", "lo", "up")
	s.h.MustRun("ip", "link", "set", "ctp"+catenet.ShortID(dockerEndpoint), "netns", name, "name", "eth0")
	s.h.MustRun("ip", "-n", name, "addr", "add", "10.96.0.9/24", "dev", "eth0")
	s.h.MustRun("ip", "-n", name, "link", "set", "eth0", "up")
	var gone error
	s.Eventually(soon, func() string {
		sb, err := s.truth.Client.Sandbox(ctx, s.docked())
		if gone = err; err != nil || !sb.Expected {
			return ""
		}
		return "its namespace has not been noticed"
	})
	return gone
}

// docked is what the sandbox is called of which dockerd has told no name.
func (s *site) docked() string { return "docker-" + filepath.Base(s.late()) }

// taken wants what is in the namespace to be as its runtime has made it, and
// lookups to be answered.
func (s *site) taken() {
	s.T.Helper()
	s.Eventually(soon, func() string {
		r := s.h.Run("nsenter", "--net="+s.late(), "--", "busybox", "nslookup", s.docked(), "127.0.0.11")
		if !strings.Contains(r.Stdout, dockerAddr.String()) {
			return r.Text()
		}
		return ""
	})
	if got := s.h.MustRun("ip", "-n", filepath.Base(s.late()), "-br", "addr", "show", "dev", "eth0"); !strings.Contains(got, "10.96.0.9/24") {
		s.T.Errorf("inside is %s", got)
	}
}

// noLate removes that namespace, if it is there.
func (s *site) noLate() {
	if kerneltest.In(s.late(), func() error { return nil }) == nil {
		s.h.MustRun("ip", "netns", "del", filepath.Base(s.late()))
	}
}

// undocked ends all that dockerd had.
func (s *site) undocked() {
	s.T.Helper()
	s.must(errors.Join(s.plugin.Leave(dockerNetwork, dockerEndpoint), s.plugin.NoAddress(dockerSubnet, dockerAddr),
		s.plugin.NoNetwork(dockerNetwork), s.plugin.NoPool(dockerSubnet)))
	s.noLate()
}

// claimed says whose dockerd's subnet is. Nothing is changed by asking for it
// together with one that another network has.
func (s *site) claimed(other catenet.Pool) string {
	_, _, err := s.truth.Client.CreateNetwork(ctx, catenet.NetworkSpec{Name: "never", Pools: []catenet.Pool{{Subnet: dockerSubnet}, {Subnet: other.Subnet}}})
	if !catenet.IsConflict(err) {
		return fmt.Sprintf("a network of what is another's came to %v", err)
	}
	return err.Error()
}
