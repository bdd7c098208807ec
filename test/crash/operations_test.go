package crash

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/test/lab"
)

// ports are what the subject of an operation publishes.
var ports = []catenet.PortSpec{port(catenet.TCP, tcpPort, 81), port(catenet.UDP, udpPort, 53)}

func operations() []operation {
	nothing := func(s *site) { s.gone("subject") }
	attached := func(s *site) {
		s.gone("subject")
		s.must(s.attach("subject", s.netns, ports, "front", "back"))
		s.flow()
	}
	ran := func(s *site) {
		if there, running := s.running("subject"); there && !running {
			s.gone("subject")
		} else if there {
			return
		}
		s.must(s.run(true))
	}
	remove := func(s *site) error { return s.truth.Client.Remove(ctx, "subject", true) }
	removable := func(s *site) {
		s.furnish()
		s.wire()
		if _, err := s.truth.Client.Network(ctx, "new"); catenet.IsNotFound(err) {
			s.must(s.createRouted())
		}
		ran(s)
		s.h.Kill()
	}
	paired := func(s *site) {
		s.gone("subject")
		s.pair()
	}
	return []operation{
		{name: "join a pair", before: paired,
			do: func(s *site) error { return s.attach("subject", s.netns, nil, "pair") }},
		{name: "leave a pair", before: func(s *site) { paired(s); s.must(s.attach("subject", s.netns, nil, "back", "pair")) },
			do: func(s *site) error { return s.truth.Client.Disconnect(ctx, "pair", "subject", false) }},
		{name: "detach from a pair", before: func(s *site) { paired(s); s.must(s.attach("subject", s.netns, nil, "pair")) }, do: remove},
		{name: "change, which publishes and renames", before: func(s *site) { s.gone("renamed"); attached(s) }, do: func(s *site) error {
			name := "renamed"
			_, err := s.truth.Client.UpdateSandbox(ctx, "subject", catenet.SandboxUpdate{Name: &name, Aliases: map[string][]string{"front": {"alias", "www"}},
				Unpublish: ports, Publish: []catenet.PortSpec{port(catenet.TCP, tcpPort, 82)}})
			return err
		}},
		{name: "change what runs", before: func(s *site) { s.gone("renamed"); s.gone("subject"); s.must(s.run(true)) }, do: func(s *site) error {
			name := "renamed"
			_, err := s.truth.Client.UpdateSandbox(ctx, "subject", catenet.SandboxUpdate{Name: &name, Unpublish: ports[:1]})
			return err
		}},
		{name: "rename a network", before: func(s *site) {
			s.gone("subject")
			s.noNetwork("new")
			s.noNetwork("other")
			s.must(s.create("new", "10.93.0.0/24"))
			s.must(s.attach("subject", s.netns, nil, "new", "back"))
		}, do: func(s *site) error {
			_, _, err := s.truth.Client.UpdateNetwork(ctx, "new", catenet.NetworkUpdate{Name: "other"})
			return err
		}},
		{name: "update a network", before: func(s *site) {
			s.gone("subject")
			s.noNetwork("new")
			s.must(s.create("new", "10.93.0.0/24", "fd00:93::/64"))
			s.must(s.attach("subject", s.netns, nil, "new"))
		}, do: func(s *site) error {
			_, _, err := s.truth.Client.UpdateNetwork(ctx, "new", catenet.NetworkUpdate{MTU: 1400,
				AddSetAside: []catenet.Range{{First: netip.MustParseAddr("10.93.0.128"), Last: netip.MustParseAddr("10.93.0.255")}},
				AddPools:    []catenet.Pool{{Subnet: netip.MustParsePrefix("10.94.0.0/24")}, {Subnet: netip.MustParsePrefix("fd00:94::/64")}}})
			return err
		}},
		{name: "create a network", before: func(s *site) { s.noNetwork("new") },
			do: func(s *site) error { return s.create("new", "10.93.0.0/24", "fd00:93::/64") }},
		{name: "remove a network", before: func(s *site) { s.network("new", "10.93.0.0/24", "fd00:93::/64") },
			do: (*site).removeNew},
		{name: "create a network of several hosts", before: func(s *site) { s.noNetwork("new"); s.wire() }, do: (*site).createRouted},
		{name: "remove a network of several hosts", before: func(s *site) { s.noNetwork("new"); s.wire(); s.must(s.createRouted()) },
			do: (*site).removeNew},
		{name: "attach", before: nothing,
			do: func(s *site) error { return s.attach("subject", s.netns, ports, "front", "back") }},
		{name: "park", before: nothing, do: func(s *site) error {
			_, err := s.truth.Client.CreateSandbox(ctx, catenet.SandboxSpec{Name: "subject", Owner: catenet.OwnerDocker, Netns: "/run/netns/never-" + s.ID, Parked: true,
				Networks: []catenet.EndpointSpec{{Network: "front"}}, Ports: ports[:1]}, true)
			return err
		}},
		{name: "attach what is shaped", only: "link.send", before: nothing, do: func(s *site) error {
			_, err := s.truth.Client.CreateSandbox(ctx, catenet.SandboxSpec{Name: "subject", Owner: catenet.OwnerAttach, Netns: "/run/netns/" + s.netns,
				Networks: []catenet.EndpointSpec{{Network: "front", Bandwidth: catenet.Bandwidth{In: catenet.Rate{Bits: 1e9}, Out: catenet.Rate{Bits: 1e8}}}}}, true)
			return err
		}},
		{name: "detach", before: attached, do: remove},
		{name: "connect, which publishes", before: func(s *site) {
			nothing(s)
			s.must(s.attach("subject", s.netns, ports, "front", "back"))
			s.must(s.truth.Client.Disconnect(ctx, "front", "subject", false))
		}, do: func(s *site) error {
			_, err := s.truth.Client.Connect(ctx, "front", "subject", catenet.EndpointSpec{Aliases: []string{"alias"}})
			return err
		}},
		{name: "disconnect, which publishes no more", before: attached,
			do: func(s *site) error { return s.truth.Client.Disconnect(ctx, "front", "subject", false) }},
		{name: "attach and detach a process", partly: true, before: func(s *site) {
			s.gone("subject")
			s.process()
			s.must(errors.Join(os.RemoveAll(s.rootfs()), os.Mkdir(s.rootfs(), 0o755)))
		}, do: func(s *site) error {
			spec := catenet.SandboxSpec{Name: "subject", Owner: catenet.OwnerAttach, PID: s.process(), Rootfs: s.rootfs(),
				Networks: []catenet.EndpointSpec{{Network: "front"}}}
			if _, err := s.truth.Client.CreateSandbox(ctx, spec, true); err != nil {
				return err
			}
			return remove(s)
		}, after: (*site).lifted},
		{name: "run", before: nothing, do: func(s *site) error { return s.run(true) }},
		{name: "start", before: func(s *site) { nothing(s); s.must(s.run(false)) },
			do: func(s *site) error { return s.truth.Client.Start(ctx, "subject") }},
		{name: "stop", before: ran,
			do: func(s *site) error { return s.truth.Client.Stop(ctx, "subject", 0) }},
		{name: "remove a container by force", partly: true, before: ran, do: remove},
		{name: "a container's shim dies", before: ran, do: killShim},
		{name: "the daemon's first start", before: (*site).purge, do: (*site).startAgain},
		{name: "a start among remains", before: (*site).litter, do: (*site).startAgain},
		{name: "a start with a corrupt file", before: func(s *site) {
			s.gone("keeper")
			ran(s)
			s.h.Kill()
			s.must(os.WriteFile(filepath.Join(s.h.RunDir(), "live.db"), []byte(strings.Repeat("no database ", 4096)), 0o600))
		}, do: (*site).startAgain},
		{name: "a start that allows forwarding", only: "foreign.restore", before: func(s *site) {
			s.h.Kill()
			s.h.MustRun("iptables-nft", "-P", "FORWARD", "DROP")
			s.h.MustRun("iptables-nft", "-F", "FORWARD")
			s.args = append(s.args[:2:2], "--allow-forward")
		}, do: (*site).startAgain, after: (*site).forwards},
		{name: "catenetd --remove", partly: true, before: removable, do: (*site).remove},
		{name: "catenetd --remove, and again", partly: true, before: removable, do: (*site).removeAgain},
	}
}

// pair makes a network of two, with the keeper in it.
func (s *site) pair() {
	s.T.Helper()
	if _, err := s.truth.Client.Network(ctx, "pair"); err == nil {
		return
	}
	_, _, err := s.truth.Client.CreateNetwork(ctx, catenet.NetworkSpec{Name: "pair", Driver: "ptp", IPv6: true,
		Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.95.0.0/30")}, {Subnet: netip.MustParsePrefix("fd00:95::2/127")}}})
	s.must(err)
	_, err = s.truth.Client.Connect(ctx, "pair", "keeper", catenet.EndpointSpec{})
	s.must(err)
}

// run makes a container.
func (s *site) run(start bool) error {
	_, err := s.truth.Client.CreateSandbox(ctx, catenet.SandboxSpec{
		Name: "subject", Owner: catenet.OwnerRun, Ports: ports, Process: &catenet.Process{Args: []string{"sh", "-c", "trap exit TERM; sleep 600 & wait"}},
		Networks: []catenet.EndpointSpec{{Network: "front", IPv4: netip.MustParseAddr("10.91.0.99")}},
	}, start)
	return err
}

func (s *site) removeNew() error {
	_, err := s.truth.Client.RemoveNetwork(ctx, "new")
	return err
}

func (s *site) noNetwork(name string) {
	s.T.Helper()
	if _, err := s.truth.Client.RemoveNetwork(ctx, name); err != nil && !catenet.IsNotFound(err) {
		s.T.Fatal(err)
	}
}

// flow has the kernel track a connection to the subject's UDP port.
func (s *site) flow() {
	s.T.Helper()
	s.must(s.h.NS.Do(func() error {
		c, err := net.Dial("udp", fmt.Sprintf("10.91.0.1:%d", udpPort))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("?"))
		return err
	}))
}

// rootfs is where that process is about to have its root.
// wire gives the host one that others are on: 192.0.2.0/24.
func (s *site) wire() {
	s.h.MustRun("sh", "-c", "ip link show eth7 >/dev/null 2>&1 || { ip link add eth7 type veth peer name eth8 && ip addr add 192.0.2.1/24 dev eth7 && ip link set eth8 up && ip link set eth7 up; }")
}

func (s *site) createRouted() error {
	_, _, err := s.truth.Client.CreateNetwork(ctx, catenet.NetworkSpec{Name: "new", Driver: "routed",
		Pools:   []catenet.Pool{{Subnet: netip.MustParsePrefix("10.93.1.0/24")}},
		Options: map[string]string{"peers": "10.93.2.0/24=192.0.2.2,10.93.3.0/24=192.0.2.3"}})
	return err
}

func (s *site) rootfs() string { return filepath.Join(s.h.Dir, "rootfs") }

// lifted wants no file of ours to lie over that process's, unless it is attached.
func (s *site) lifted() {
	s.T.Helper()
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", s.process()))
	if there, _ := s.running("subject"); err != nil || !there && strings.Contains(string(mounts), "/sandboxes/") {
		s.T.Errorf("nothing is attached, and over the files of the process lie (%v)\n%s", err, mounts)
	}
}

// process is one in a namespace without a name; it is made once.
func (s *site) process() int {
	s.T.Helper()
	if s.stranger == nil {
		s.stranger = s.h.Start("unshare", "-n", "-m", "sh", "-c", "ip link set lo up && exec sleep 600")
		s.Eventually(soon, func() string {
			its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", s.stranger.Pid))
			host, err2 := os.Stat(s.h.NS.Path)
			ours, err3 := os.Stat("/proc/self/ns/net")
			if err := errors.Join(err, err2, err3); err != nil {
				return err.Error()
			}
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", s.stranger.Pid))
			if err != nil || string(comm) != "sleep\n" || os.SameFile(its, host) || os.SameFile(its, ours) {
				return "it has no namespace of its own yet"
			}
			return ""
		})
	}
	return s.stranger.Pid
}

// killShim kills the process that stays with the subject.
func killShim(s *site) error {
	sb, err := s.truth.Client.Sandbox(ctx, "subject")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(s.h.RunDir(), "containers", sb.ID, "pid"))
	if err != nil {
		return err
	}
	shim, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		return err
	}
	return syscall.Kill(shim, syscall.SIGKILL)
}

// startAgain starts a daemon, and fails if that ends before it answers.
func (s *site) startAgain() error {
	s.start()
	if s.h.DaemonEnds(0) {
		return errors.New("it has ended")
	}
	return nil
}

// litter leaves no daemon, but what one left that died as it attached the
// subject, a call that was written down since, a link of an earlier one, and the
// keeper without its link.
func (s *site) litter() {
	s.T.Helper()
	s.gone("subject")
	s.furnish()
	s.forget()
	s.write("die", "after bpf.port 1")
	if err := s.attach("subject", s.netns, ports, "front", "back"); err == nil || !s.h.DaemonEnds(soon) {
		s.T.Fatalf("the daemon did not die as it attached: %v", err)
	}
	s.must(os.Remove(filepath.Join(s.dir, "die")))
	for link := range strings.FieldsSeq(s.h.MustRun("ip", "-br", "link")) {
		if name, _, veth := strings.Cut(link, "@"); veth && strings.HasPrefix(name, "ctn") {
			s.h.MustRun("ip", "link", "del", name)
			break // the keeper's: the first that was made
		}
	}
	late := pipe.Call{Path: "/v1/cni", Env: []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=late", "CNI_IFNAME=eth0"}, Stdin: []byte(`{"cniVersion":"1.1.0","name":"front"}`)}
	_, err := late.Save(pipe.Spool(s.h.Socket()))
	s.must(err)
	s.h.MustRun("ip", "link", "add", "ctn0123456789ab", "type", "veth", "peer", "name", "eth9")
	s.h.MustRun("ip", "link", "set", "ctn0123456789ab", "alias", "catenet:"+strings.Repeat("0123456789abcdef", 4))
}

// purge ends the daemon and takes away all that it has.
func (s *site) purge() {
	s.T.Helper()
	s.h.Kill()
	if r := s.catenetd("--purge"); r.Code != 0 {
		s.T.Fatal(r.Text())
	}
}

func (s *site) catenetd(flag string) lab.Result {
	return s.h.Run("env", s.h.DaemonEnv[0], filepath.Join(lab.Binaries(s.T), "catenetd"),
		"--run-dir", s.h.RunDir(), "--state-dir", s.h.StateDir(), flag)
}

// remove takes away what a daemon left.
func (s *site) remove() error {
	s.T.Helper()
	switch r := s.catenetd("--remove"); r.Code {
	case 0:
		s.empty()
		return nil
	case -1:
		return errors.New("killed")
	default:
		s.T.Fatal(r.Text())
		return nil
	}
}

// removeAgain is remove until it is done.
func (s *site) removeAgain() error {
	s.T.Helper()
	err := s.remove()
	if err != nil {
		s.must(s.remove())
	}
	return err
}

// empty wants nothing of ours to be left.
func (s *site) empty() {
	s.T.Helper()
	for _, left := range []string{s.h.MustRun("ip", "-br", "link"), s.h.MustRun("nft", "list", "tables"),
		s.h.MustRun("nsenter", "--net=/run/netns/"+s.keeper(), "--", "sh", "-c", "ip -br link; nft list tables")} {
		if strings.Contains(left, "catenet") || strings.Contains(left, "ctn") || strings.Contains(left, "br-") {
			s.T.Errorf("left behind:\n%s", left)
		}
	}
	if left := s.h.MustRun("sh", "-c", "ip route show proto 159 && ip -6 route show proto 159"); left != "" {
		s.T.Errorf("left behind are routes:\n%s", left)
	}
	for _, path := range []string{s.h.RunDir(), filepath.Join("/etc/netns", s.keeper())} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			s.T.Errorf("left behind: %s (%v)", path, err)
		}
	}
}

// forwards wants each bridge to be let through FORWARD, once.
func (s *site) forwards() {
	s.T.Helper()
	rules := s.h.MustRun("iptables-nft", "-S", "FORWARD")
	if n := strings.Count(rules, "-o catenet0 -m comment --comment catenet -j ACCEPT"); n != 1 {
		s.T.Errorf("there are %d rules for the first bridge:\n%s", n, rules)
	}
}
