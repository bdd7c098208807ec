package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/nft"
)

var ctx = context.Background()

func TestAttachGivesAnAddressAndDetachTakesItBack(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
	w.kernel.Adopt("/test/a")
	w.kernel.Adopt("/test/b")
	before := w.mark()
	a := w.mustAttach("a", catenet.EndpointSpec{Network: "front"})
	b := w.mustAttach("b", catenet.EndpointSpec{Network: "front"})
	if got := a.Endpoints[0].IPv4.String() + " " + b.Endpoints[0].IPv4.String(); got != "10.1.0.2/24 10.1.0.3/24" {
		t.Errorf("addresses %s", got)
	}
	if a.Endpoints[0].MAC != "02:42:0a:01:00:02" || a.Endpoints[0].Interface != "eth0" || !a.Endpoints[0].DefaultRoute4 {
		t.Errorf("endpoint %+v", a.Endpoints[0])
	}
	n, err := w.Network(ctx, "front")
	must(t, err)
	var owners []string
	for _, o := range n.Owners {
		owners = append(owners, o.Address.String()+" "+o.Owner)
	}
	if got := strings.Join(owners, ", "); got != "10.1.0.1 gateway, 10.1.0.2 a, 10.1.0.3 b" {
		t.Errorf("owners: %s", got)
	}
	must(t, w.Remove(ctx, "a", false))
	must(t, w.Remove(ctx, "b", false))
	w.unchanged(before)
	// No quick reuse: the next address is a fresh one.
	if c := w.mustAttach("c", catenet.EndpointSpec{Network: "front"}); c.Endpoints[0].IPv4.String() != "10.1.0.4/24" {
		t.Errorf("third address %s", c.Endpoints[0].IPv4)
	}
}

func TestDefaultRouteGoesByPriorityThenName(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"b", "a", "c"} {
		w.network(catenet.NetworkSpec{Name: n})
	}
	w.network(catenet.NetworkSpec{Name: "aa", Internal: true})
	st := w.mustAttach("x", catenet.EndpointSpec{Network: "b"}, catenet.EndpointSpec{Network: "a"}, catenet.EndpointSpec{Network: "aa", GwPriority: 9})
	if got := defaultOf(st); got != "a" {
		t.Errorf("default route by %q, want a", got)
	}
	_, err := w.Connect(ctx, "c", "x", catenet.EndpointSpec{GwPriority: 1})
	must(t, err)
	st, err = w.Sandbox(ctx, "x")
	must(t, err)
	if got := defaultOf(st); got != "c" {
		t.Errorf("default route by %q after connect, want c", got)
	}
	if n := strings.Count(w.kernel.String(), "route add 0.0.0.0/0"); n != 1 {
		t.Errorf("%d default routes inside\n%s", n, w.kernel)
	}
	must(t, w.Disconnect(ctx, "c", "x", false))
	st, err = w.Sandbox(ctx, "x")
	must(t, err)
	if got := defaultOf(st); got != "a" {
		t.Errorf("default route by %q after disconnect, want a", got)
	}
	w.reaper.wait()
	if n := strings.Count(w.kernel.String(), "route add 0.0.0.0/0"); n != 1 {
		t.Errorf("%d default routes inside after disconnect\n%s", n, w.kernel)
	}
}

func defaultOf(st catenet.SandboxStatus) string {
	for _, ep := range st.Endpoints {
		if ep.DefaultRoute4 {
			return ep.Spec.Network
		}
	}
	return ""
}

func TestBadRequestsAreRefusedBeforeAnythingIsTouched(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "front", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
	w.network(catenet.NetworkSpec{Name: "closed", Internal: true})
	w.mustAttach("taken", catenet.EndpointSpec{Network: "front"})
	spec := func(s catenet.SandboxSpec) func() error {
		return func() error { _, err := w.attachSpec(s); return err }
	}
	create := func(s catenet.NetworkSpec) func() error {
		return func() error { _, _, err := w.CreateNetwork(ctx, s); return err }
	}
	front := []catenet.EndpointSpec{{Network: "front"}}
	later := func(networks ...catenet.EndpointSpec) func() error {
		return func() error {
			_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "x", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep"}}, Networks: networks}, false)
			return err
		}
	}
	connect := func(who, network string, s catenet.EndpointSpec) func() error {
		return func() error { _, err := w.Connect(ctx, network, who, s); return err }
	}
	_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "idle", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep"}},
		Networks: []catenet.EndpointSpec{{Network: "bridge", Interface: "e"}}}, false)
	must(t, err)
	for _, c := range []struct {
		name string
		do   func() error
		kind catenet.Kind
		says string
	}{
		{"name with a slash", spec(catenet.SandboxSpec{Name: "a/b"}), catenet.KindInvalid, `"/"`},
		{"name taken", spec(catenet.SandboxSpec{Name: "taken", Networks: front}), catenet.KindConflict, "taken"},
		{"no such network", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "nope"}}}), catenet.KindNotFound, "nope"},
		{"twice the same network", spec(catenet.SandboxSpec{Name: "x", Networks: append(front, front...)}), catenet.KindConflict, "already"},
		{"address outside", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", IPv4: addr("10.2.0.1")}}}), catenet.KindInvalid, "10.1.0.0/24"},
		{"address taken", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", IPv4: addr("10.1.0.2")}}}), catenet.KindConflict, "10.1.0.2"},
		{"gateway's address", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", IPv4: addr("10.1.0.1")}}}), catenet.KindConflict, "10.1.0.1"},
		{"MAC taken", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", MAC: "02:42:0a:01:00:02"}}}), catenet.KindConflict, "taken"},
		{"port on all addresses and on one", spec(catenet.SandboxSpec{Name: "x", Networks: front, Ports: specs(t, "127.0.0.1:80:80", "80:80")}), catenet.KindConflict, "twice"},
		{"port on the broadcast address", spec(catenet.SandboxSpec{Name: "x", Networks: front, Ports: []catenet.PortSpec{{Proto: "tcp", Port: 80, HostIP: addr("255.255.255.255")}}}), catenet.KindInvalid, "255.255.255.255"},
		{"IPv6 as IPv4", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", IPv4: addr("fd00::1")}}}), catenet.KindInvalid, "IPv4"},
		{"multicast MAC", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", MAC: "01:00:5e:00:00:01"}}}), catenet.KindInvalid, "MAC"},
		{"interface name", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", Interface: "a/b"}}}), catenet.KindInvalid, "a/b"},
		{"lo", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", Interface: "lo"}}}), catenet.KindConflict, "lo"},
		{"endpoint option", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", Options: map[string]string{"x": "y"}}}}), catenet.KindInvalid, "\"x\""},
		{"alias", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front", Aliases: []string{"a b"}}}}), catenet.KindInvalid, "alias"},
		{"port of an internal network", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "closed"}}, Ports: []catenet.PortSpec{{Proto: "tcp", Port: 80}}}), catenet.KindInvalid, "internal"},
		{"port 0", spec(catenet.SandboxSpec{Name: "x", Networks: front, Ports: []catenet.PortSpec{{Proto: "tcp"}}}), catenet.KindInvalid, "port 0"},
		{"IPv6 port of an IPv4 network", spec(catenet.SandboxSpec{Name: "x", Networks: front, Ports: []catenet.PortSpec{{Proto: "tcp", Port: 80, HostIP: addr("::1")}}}), catenet.KindInvalid, "::1"},
		{"DNS server", spec(catenet.SandboxSpec{Name: "x", DNS: catenet.DNSConfig{Servers: []netip.Addr{addr("0.0.0.0")}}}), catenet.KindInvalid, "0.0.0.0"},
		{"extra host", spec(catenet.SandboxSpec{Name: "x", ExtraHosts: []catenet.HostEntry{{Name: "a\nb", Addr: "1.2.3.4"}}}), catenet.KindInvalid, "host"},
		{"hostname", spec(catenet.SandboxSpec{Name: "x", Hostname: "a\nb"}), catenet.KindInvalid, `"a\nb"`},
		{"long hostname", spec(catenet.SandboxSpec{Name: "x", Hostname: strings.Repeat("a", 65)}), catenet.KindInvalid, "64"},
		{"interface of one to be started", later(catenet.EndpointSpec{Network: "front", Interface: "a/b"}), catenet.KindInvalid, "a/b"},
		{"one network twice, later", later(front[0], front[0]), catenet.KindConflict, "already"},
		{"one interface twice, later", later(catenet.EndpointSpec{Network: "front", Interface: "e"}, catenet.EndpointSpec{Network: "bridge", Interface: "e"}), catenet.KindConflict, "interface e already"},
		{"connect later with a bad interface", connect("idle", "front", catenet.EndpointSpec{Interface: "a/b"}), catenet.KindInvalid, "a/b"},
		{"connect later with a taken interface", connect("idle", "front", catenet.EndpointSpec{Interface: "e"}), catenet.KindConflict, "interface e already"},
		{"connect later once more", connect("idle", "bridge", catenet.EndpointSpec{}), catenet.KindConflict, "already"},
		{"mode of an attach", spec(catenet.SandboxSpec{Name: "x", Mode: catenet.ModeHost}), catenet.KindInvalid, "mode"},
		{"network host beside others", spec(catenet.SandboxSpec{Name: "x", Networks: []catenet.EndpointSpec{{Network: "front"}, {Network: "host"}}}), catenet.KindInvalid, "mode"},

		{"network's name", create(catenet.NetworkSpec{Name: "../x"}), catenet.KindInvalid, `"."`},
		{"predefined", create(catenet.NetworkSpec{Name: "host"}), catenet.KindForbidden, "predefined"},
		{"duplicate", create(catenet.NetworkSpec{Name: "front"}), catenet.KindConflict, "front"},
		{"driver", create(catenet.NetworkSpec{Name: "n", Driver: "magic"}), catenet.KindNotFound, "magic"},
		{"option", create(catenet.NetworkSpec{Name: "n", Options: map[string]string{"com.docker.network.magic": "1"}}), catenet.KindInvalid, "magic"},
		{"overlap", create(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/16")}}}), catenet.KindConflict, "front"},
		{"gateway outside", create(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/16"), Gateway: addr("10.1.0.1")}}}), catenet.KindInvalid, "10.1.0.1"},
		{"range without an address", create(catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.9.0.0/16"), Range: netip.MustParsePrefix("10.9.0.1/32")}}}), catenet.KindInvalid, "10.9.0.1/32"},
		{"no family", create(catenet.NetworkSpec{Name: "n", DisableIPv4: true}), catenet.KindInvalid, "IPv"},
		{"another host network", create(catenet.NetworkSpec{Name: "n", Driver: "host"}), catenet.KindForbidden, "host"},

		{"remove predefined", func() error { return w.noNetwork("bridge") }, catenet.KindForbidden, "predefined"},
		{"remove one in use", func() error { return w.noNetwork("front") }, catenet.KindForbidden, "taken"},
		{"connect to host", func() error { _, err := w.Connect(ctx, "host", "taken", catenet.EndpointSpec{}); return err }, catenet.KindForbidden, "host"},
		{"by force from no network", func() error { return w.Disconnect(ctx, "nope", "nobody", true) }, catenet.KindNotFound, "nope"},
		{"disconnect a stranger", func() error { return w.Disconnect(ctx, "closed", "taken", false) }, catenet.KindNotFound, "closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.kernel.Adopt("/test/x")
			w.kernel.Adopt("/test/a_b")
			before := w.mark()
			err := c.do()
			if err == nil || catenet.KindOf(err) != c.kind || !strings.Contains(err.Error()+catenet.HintOf(err), c.says) {
				t.Errorf("%v error %v (hint %q), want a %v one that says %q", catenet.KindOf(err), err, catenet.HintOf(err), c.kind, c.says)
			}
			w.unchanged(before)
		})
	}
}

// mark is what a refused or undone request must leave as it was.
type mark struct {
	state string
	use   string
}

func (w *world) mark() mark { return mark{w.state(), w.use()} }

func (w *world) unchanged(before mark) {
	w.t.Helper()
	if now := w.mark(); now != before {
		w.t.Errorf("changed from\n%s%s\nto\n%s%s", before.state, before.use, now.state, now.use)
	}
}

// use is who owns which address, and what is in the records.
func (w *world) use() string {
	var b strings.Builder
	networks, err := w.Networks(ctx)
	must(w.t, err)
	for _, n := range networks {
		fmt.Fprint(&b, n.Name, n.Labels, n.DNS, n.Options)
		for _, u := range n.Use {
			b.WriteString(" " + u.Subnet.String())
			b.WriteString(strings.Repeat("*", int(u.Used)))
		}
		b.WriteString("\n")
	}
	all, err := w.Sandboxes(ctx, true)
	must(w.t, err)
	for _, s := range all {
		b.WriteString(s.Name + " " + string(s.State) + "\n")
	}
	return b.String()
}

func TestANamespaceIsAttachedOnce(t *testing.T) {
	w := newWorld(t)
	w.kernel.Adopt("/test/x")
	spec := catenet.SandboxSpec{Owner: catenet.OwnerAttach, Netns: "/test/x"}
	errs := make(chan error)
	for range 8 {
		go func() { _, err := w.CreateSandbox(ctx, spec, true); errs <- err }()
	}
	joined := 0
	for range 8 {
		switch err := <-errs; {
		case err == nil:
			joined++
		case !catenet.IsConflict(err):
			t.Error(err)
		}
	}
	if joined != 1 {
		t.Errorf("%d attaches of one namespace succeeded", joined)
	}
	// Detached, it can be attached again.
	all, err := w.Sandboxes(ctx, true)
	must(t, err)
	must(t, w.Remove(ctx, all[0].ID, false))
	_, err = w.CreateSandbox(ctx, spec, true)
	must(t, err)
}

// container is a container of our own that does nothing.
func container(name string, networks ...catenet.EndpointSpec) catenet.SandboxSpec {
	return catenet.SandboxSpec{Name: name, Owner: catenet.OwnerRun, Networks: networks, Process: &catenet.Process{Args: []string{"sleep"}}}
}

func TestAFixedAddressIsItsContainersAndNobodyElses(t *testing.T) {
	w := newWorld(t)
	pool := catenet.NetworkSpec{Name: "n", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}}
	w.network(pool)
	fixed := catenet.EndpointSpec{Network: "n", IPv4: addr("10.1.0.5")}
	_, err := w.CreateSandbox(ctx, container("f1", fixed), true)
	must(t, err)
	must(t, w.Stop(ctx, "f1", 0))
	if _, err := w.CreateSandbox(ctx, container("f2", fixed), true); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "f1") {
		t.Errorf("a stopped container's address: %v", err)
	}
	// Also in a network that was made anew, and after a restart.
	must(t, w.noNetwork("n"))
	w.network(pool)
	if _, err := w.CreateSandbox(ctx, container("f2", fixed), true); !catenet.IsConflict(err) {
		t.Errorf("in a network made anew: %v", err)
	}
	w.restart()
	if _, err := w.CreateSandbox(ctx, container("f2", fixed), true); !catenet.IsConflict(err) {
		t.Errorf("after a restart: %v", err)
	}
	must(t, w.Start(ctx, "f1"))
	st, err := w.Sandbox(ctx, "f1")
	must(t, err)
	if got := st.Endpoints[0].IPv4.Addr(); got != fixed.IPv4 {
		t.Errorf("f1 has %s", got)
	}
	must(t, w.Remove(ctx, "f1", true))
	_, err = w.CreateSandbox(ctx, container("f2", fixed), true)
	must(t, err)
}

// lose removes files.
func (w *world) lose(patterns ...string) {
	w.t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(w.dir, pattern))
		must(w.t, err)
		if len(found) == 0 {
			w.t.Fatalf("there is no %s", pattern)
		}
		for _, path := range found {
			must(w.t, os.Remove(path))
		}
	}
}

// reboot is a restart of the whole machine: what lived is gone.
func (w *world) reboot() {
	w.closeNow()
	w.lose("run/live.*")
	w.kernel, w.rules, w.ports, w.processes = fake.New(), nft.NewMemory(), newPorts(), fake.NewProcesses()
	w.boot(nil)
}

func TestAfterARestartOfTheMachine(t *testing.T) {
	w := newWorld(t)
	_, err := w.CreateSandbox(ctx, container("kept"), false)
	must(t, err)
	must(t, w.Start(ctx, "kept"))
	gone := container("gone")
	gone.Process.AutoRemove = true
	_, err = w.CreateSandbox(ctx, gone, true)
	must(t, err)
	_, err = w.CreateSandbox(ctx, container("new"), false)
	must(t, err)
	w.mustAttach("guest")
	w.reboot()
	all, err := w.Sandboxes(ctx, true)
	must(t, err)
	got := map[string]string{}
	for _, s := range all {
		got[s.Name] = string(s.State)
	}
	want := map[string]string{"kept": "exited", "new": "created"}
	if !maps.Equal(got, want) {
		t.Errorf("after the machine's restart %v, want %v", got, want)
	}
	must(t, w.Start(ctx, "kept"))
}

// TestOverASubnetOfTheHost a network is made if somebody asks for it, and told
// of.
func TestOverASubnetOfTheHost(t *testing.T) {
	w := newWorld(t)
	w.kernel.AddRoute(netip.MustParsePrefix("198.51.100.0/24"))
	_, warnings, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "lan", Pools: []catenet.Pool{{Subnet: netip.MustParsePrefix("198.51.100.0/25")}}})
	must(t, err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "198.51.100.0/25 overlaps 198.51.100.0/24") {
		t.Errorf("%q", warnings)
	}
	if _, warnings, err := w.CreateNetwork(ctx, catenet.NetworkSpec{Name: "own"}); len(warnings) > 0 || err != nil {
		t.Errorf("%q, %v", warnings, err)
	}
}
