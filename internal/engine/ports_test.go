package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// published is what ends up where, as "80->8000 81->8001".
func published(st catenet.SandboxStatus) string {
	var out []string
	for _, b := range st.Bindings {
		out = append(out, fmt.Sprintf("%d->%s:%d", b.Port, b.HostIP, b.HostPort))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func specs(t *testing.T, args ...string) (out []catenet.PortSpec) {
	for _, a := range args {
		p, err := catenet.ParsePort(a)
		must(t, err)
		out = append(out, p...)
	}
	return out
}

func TestPortsOfOneRequestDoNotShareANumber(t *testing.T) {
	w := newWorld(t)
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8000-8010:80", "8000-8010:81")})
	must(t, err)
	if got := published(st); got != "80->0.0.0.0:8000 81->0.0.0.0:8001" {
		t.Error(got)
	}
	for _, twice := range [][]string{{"9000:80", "9000:81"}, {"9000:80", "9000:80"}} {
		if _, err := w.attachSpec(catenet.SandboxSpec{Name: "b", Ports: specs(t, twice...)}); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%v: %v", twice, err)
		}
	}
	if _, err := w.attachSpec(catenet.SandboxSpec{Name: "b", Ports: specs(t, "8001:80")}); !catenet.IsConflict(err) {
		t.Errorf("another container's port: %v", err)
	}
}

func TestPortsStayThroughConnectAndDisconnect(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "six", IPv6: true})
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8090:80", "80", "82"), PublishAll: true,
		Expose: specs(t, "80", "83")})
	must(t, err)
	before := published(st)
	if n := strings.Count(before, "->"); n != 4 {
		t.Fatalf("%d bindings, want 4: -P publishes what -p has not: %s", n, before)
	}
	_, err = w.Connect(ctx, "six", "a", catenet.EndpointSpec{})
	must(t, err)
	st, err = w.Sandbox(ctx, "a")
	must(t, err)
	// The second family takes the numbers of the first.
	for _, b := range strings.Fields(before) {
		v6 := strings.Replace(b, "0.0.0.0", "::", 1)
		if !strings.Contains(published(st), b) || !strings.Contains(published(st), v6) {
			t.Errorf("after connect %s, want %s and %s in it", published(st), b, v6)
		}
	}
	must(t, w.Disconnect(ctx, "six", "a", false))
	st, err = w.Sandbox(ctx, "a")
	must(t, err)
	if published(st) != before {
		t.Errorf("after disconnect %s, want %s", published(st), before)
	}
	must(t, w.Remove(ctx, "a", false))
	if held := w.ports.String(); !strings.HasPrefix(held, "0 held map[]") {
		t.Errorf("left: %s", held)
	}
}

// TestPortsHeldByTheirRuntime: somebody else binds them, before us or after us,
// and no other container gets them meanwhile or later.
func TestPortsHeldByTheirRuntime(t *testing.T) {
	w := newWorld(t)
	run := catenet.SandboxSpec{Name: "r", Owner: catenet.OwnerRun, PortsHeld: true, Process: &catenet.Process{Args: []string{"x"}}}
	if _, err := w.CreateSandbox(ctx, run, false); !catenet.IsInvalid(err) {
		t.Errorf("a container of our own: %v", err)
	}
	taken := kernel.HeldPort{Proto: "tcp", IP: netip.IPv4Unspecified(), Port: 8000}
	theirs, err := w.ports.Hold(ctx, taken)
	must(t, err)
	spec := catenet.SandboxSpec{Name: "a", Owner: catenet.OwnerPodman, PortsHeld: true, Ports: specs(t, "8000:80")}
	_, err = w.attachSpec(spec)
	must(t, err)
	must(t, theirs.Close()) // and not bound again yet
	refused := func() {
		t.Helper()
		for _, held := range []bool{false, true} {
			if _, err := w.attachSpec(catenet.SandboxSpec{Name: "b", Owner: catenet.OwnerPodman, PortsHeld: held, Ports: specs(t, "8000:80")}); !catenet.IsConflict(err) {
				t.Errorf("another container: %v", err)
			}
		}
	}
	refused()
	theirs, err = w.ports.Hold(ctx, taken)
	must(t, err)
	w.restart()
	if info, err := w.Info(ctx); err != nil || len(info.Warnings) > 0 {
		t.Errorf("%v %v", info.Warnings, err)
	}
	must(t, theirs.Close())
	refused()
	must(t, w.Remove(ctx, "a", false))
	_, err = w.attachSpec(catenet.SandboxSpec{Name: "b", Ports: specs(t, "8000:80")})
	must(t, err)
	spec.Name = "c"
	if _, err := w.attachSpec(spec); !catenet.IsConflict(err) {
		t.Errorf("a port that we hold for another: %v", err)
	}
}

// TestNoPortIsHeldByHalf has the daemon run out of files amid a request.
func TestNoPortIsHeldByHalf(t *testing.T) {
	w := newWorld(t)
	st := w.mustAttach("x")
	before := w.mark()
	w.ports.most = 60
	spec := catenet.SandboxSpec{Name: "y", Ports: specs(t, "8000-8099:8000-8099")}
	if _, err := w.attachSpec(spec); catenet.KindOf(err) != catenet.KindExhausted || !strings.Contains(catenet.HintOf(err), "LimitNOFILE") {
		t.Errorf("%v, hint %q", err, catenet.HintOf(err))
	}
	w.kernel.Vanish("/test/y")
	w.unchanged(before)
	w.ports.most = 0
	if _, err := w.attachSpec(spec); err != nil {
		t.Errorf("with room: %v", err)
	}
	must(t, w.Remove(ctx, st.ID, false))
}

// TestOneAddressIsNotAll publishes where the network's default is an address
// of one family: the other one must not be open.
func TestOneAddressIsNotAll(t *testing.T) {
	w := newWorld(t)
	for name, at := range map[string]string{"lone": "127.0.0.1", "any": "0.0.0.0", "lone6": "::1", "six": "::"} {
		w.network(catenet.NetworkSpec{Name: name, IPv6: true, Options: map[string]string{catenet.OptionHostBinding: at}})
	}
	for network, want := range map[string]string{"lone": "80->127.0.0.1:8080", "any": "80->0.0.0.0:8080 80->:::8080", "lone6": "80->::1:8080", "six": "80->:::8080"} {
		st, err := w.attachSpec(catenet.SandboxSpec{Name: network, Networks: []catenet.EndpointSpec{{Network: network}}, Ports: specs(t, "8080:80")})
		must(t, err)
		if got := published(st); got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
		must(t, w.Remove(ctx, network, false))
	}
}

// TestEachRangeIsItsOwn publishes one port twice, next to each other, by a
// range of each family.
func TestEachRangeIsItsOwn(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "six", IPv6: true})
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Networks: []catenet.EndpointSpec{{Network: "six"}},
		Ports: specs(t, "127.0.0.1:8000-8005:80", "[::1]:9000-9005:80")})
	must(t, err)
	if got := published(st); got != "80->127.0.0.1:8000 80->::1:9000" {
		t.Error(got)
	}
}

// TestAThousandPortsAreOneChangeOfTheFirewall, when they come and when they go.
func TestAThousandPortsAreOneChangeOfTheFirewall(t *testing.T) {
	w := newWorld(t)
	before := w.rules.Commits()
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8000-8999:8000-8999")})
	must(t, err)
	if n := w.rules.Commits() - before; n != 1 {
		t.Errorf("published in %d transactions", n)
	}
	must(t, w.Remove(ctx, "a", false))
	if n := w.rules.Commits() - before; n != 2 {
		t.Errorf("published and closed in %d transactions", n)
	}
}

// TestPortsThatNobodyCanHold are those of a protocol that the kernel lacks.
func TestPortsThatNobodyCanHold(t *testing.T) {
	w := newWorld(t)
	w.ports.lacks = "sctp"
	for name, port := range map[string]string{"a": "9000:80/sctp", "b": "192.0.2.1:9001:80/sctp"} {
		st, err := w.attachSpec(catenet.SandboxSpec{Name: name, Ports: specs(t, port)})
		must(t, err)
		said := strings.Join(st.Warnings, "\n")
		if !strings.Contains(said, fmt.Sprintf("port %d/sctp is not held on the host: this kernel has no sctp", st.Bindings[0].HostPort)) {
			t.Errorf("%s is told %q", name, said)
		}
	}
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "t", Ports: specs(t, "9003:80/tcp")})
	must(t, err)
	for port, taken := range map[string]string{
		"9000:81/sctp": "a", "192.0.2.1:9000:80/sctp": "a", "9001:80/sctp": "b",
		"9002:80/sctp": "", "192.0.2.2:9001:80/sctp": "", "9000:80/tcp": "", "9003:80/sctp": "",
	} {
		_, err := w.attachSpec(catenet.SandboxSpec{Name: "c", Ports: specs(t, port)})
		switch {
		case taken == "":
			must(t, err)
			must(t, w.Remove(ctx, "c", false))
		case !catenet.IsConflict(err) || !strings.Contains(err.Error(), "is taken by container "+taken):
			t.Errorf("%s: %v", port, err)
		}
	}
}

// TestSCTPIsNotPublishedOnLoopback, also where the network names the address.
func TestSCTPIsNotPublishedOnLoopback(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "local", Options: map[string]string{catenet.OptionHostBinding: "127.0.0.1"}})
	for network, port := range map[string]string{"bridge": "127.0.0.1:9000:80/sctp", "local": "9000:80/sctp"} {
		_, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Networks: []catenet.EndpointSpec{{Network: network}}, Ports: specs(t, port)})
		if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), "80/sctp cannot be published on 127.0.0.1") || catenet.HintOf(err) == "" {
			t.Errorf("%s in %s: %v", port, network, err)
		}
	}
}

// TestPortsThatTheHostHasNoRouteFor: where the bridge has no IPv4 address, a
// port by IPv4 leads nowhere by itself; one by IPv6 does.
func TestPortsThatTheHostHasNoRouteFor(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "lan", IPv6: true, Options: map[string]string{catenet.OptionInhibit4: "1"}})
	lan := []catenet.EndpointSpec{{Network: "lan"}}
	warned := func(name string, ports ...string) string {
		st, err := w.attachSpec(catenet.SandboxSpec{Name: name, Networks: lan, Ports: specs(t, ports...)})
		must(t, err)
		return strings.Join(st.Warnings, "\n")
	}
	if got := warned("a", "9000:90"); strings.Count(got, unrouted) != 1 || !strings.Contains(got, unrouted+"port 90/tcp by IPv4") || !strings.Contains(got, "network lan") {
		t.Errorf("by both families: %q", got)
	}
	if got := warned("b", "[2001:db8::1]:9001:90"); strings.Contains(got, unrouted) {
		t.Errorf("by IPv6 alone: %q", got)
	}
	w.network(catenet.NetworkSpec{Name: "all"})
	_, err := w.Connect(ctx, "all", "a", catenet.EndpointSpec{GwPriority: 1})
	must(t, err)
	st, err := w.Sandbox(ctx, "a")
	must(t, err)
	if got := strings.Join(st.Warnings, "\n"); strings.Contains(got, unrouted) {
		t.Errorf("once its way leads elsewhere: %q", got)
	}
}

// TestChosenPortsThatNobodyCanHoldDiffer asks for so many that chance alone
// would choose some of them twice.
func TestChosenPortsThatNobodyCanHoldDiffer(t *testing.T) {
	w := newWorld(t)
	w.ports.lacks = "sctp"
	var ports []catenet.PortSpec
	for i := range 1000 {
		ports = append(ports, catenet.PortSpec{Proto: "sctp", Port: uint16(i + 1)})
	}
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: ports})
	must(t, err)
	seen := make(map[uint16]bool)
	for _, b := range st.Bindings {
		if seen[b.HostPort] || b.HostPort == 0 {
			t.Errorf("%s: twice, or none", b)
		}
		seen[b.HostPort] = true
	}
}

// TestRoutedPortsAreNoneOfTheHosts publishes where one family is routed, and
// where both are.
func TestRoutedPortsAreNoneOfTheHosts(t *testing.T) {
	w := newWorld(t)
	six := map[string]string{catenet.OptionGatewayMode6: "routed"}
	w.network(catenet.NetworkSpec{Name: "mixed", IPv6: true, Options: six})
	w.network(catenet.NetworkSpec{Name: "routed", IPv6: true, DisableIPv4: true, Options: six})
	for _, name := range []string{"a", "b"} { // alike: nothing is in the other's way
		st, err := w.attachSpec(catenet.SandboxSpec{Name: name, Networks: []catenet.EndpointSpec{{Network: "routed"}},
			Ports: specs(t, "[2001:db8::1]:9000:90", "90", "91-92")})
		must(t, err)
		if got := published(st); got != "90->:::0 90->:::0 91->:::0 92->:::0" {
			t.Error(got)
		}
		if got := strings.Join(st.Warnings, "\n"); strings.Count(got, unmapped) != 1 || !strings.Contains(got, unmapped+"port 90/tcp") {
			t.Errorf("a port of the host was asked for and is none: %q", got)
		}
		if held := w.ports.String(); !strings.HasPrefix(held, "0 held map[]") {
			t.Errorf("held, or served on loopback: %s", held)
		}
	}
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "c", Networks: []catenet.EndpointSpec{{Network: "mixed"}}, Ports: specs(t, "9000:90")})
	must(t, err)
	if got := published(st); got != "90->0.0.0.0:9000 90->:::0" || strings.Contains(fmt.Sprint(st.Warnings), unmapped) {
		t.Error(got, st.Warnings)
	}
	rules := func() string {
		_, after, _ := strings.Cut(w.state(), "inet catenet")
		return after
	}
	before := rules()
	w.restart()
	if after := rules(); after != before {
		t.Errorf("a start changes\n%s\nto\n%s", before, after)
	}
	// The default route moves to a network where the port is mapped, and back.
	w.network(catenet.NetworkSpec{Name: "all", IPv6: true})
	_, err = w.Connect(ctx, "all", "a", catenet.EndpointSpec{GwPriority: 1})
	must(t, err)
	st, err = w.Sandbox(ctx, "a")
	must(t, err)
	if got := published(st); !strings.Contains(got, "90->2001:db8::1:9000") || strings.Contains(got, ":0 ") || strings.Contains(fmt.Sprint(st.Warnings), unmapped) {
		t.Errorf("in a network that maps: %s, %v", got, st.Warnings)
	}
	must(t, w.Disconnect(ctx, "all", "a", false))
	st, err = w.Sandbox(ctx, "a")
	must(t, err)
	if got := published(st); got != "90->:::0 90->:::0 91->:::0 92->:::0" {
		t.Error(got)
	}
	for _, name := range []string{"a", "b", "c"} {
		must(t, w.Remove(ctx, name, false))
	}
	if held := w.ports.String(); !strings.HasPrefix(held, "0 held map[]") {
		t.Errorf("left: %s", held)
	}
}
