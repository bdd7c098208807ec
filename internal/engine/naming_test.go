package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// ask is what a container's resolver answers to a name.
func (w *world) ask(container, name string) string {
	w.t.Helper()
	r, err := w.record(container)
	must(w.t, err)
	at := fmt.Sprintf("127.0.0.1:%d", r.ResolverPort)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at)
	}}
	addrs, err := resolver.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// hosts is a container's /etc/hosts.
func (w *world) hosts(st catenet.SandboxStatus) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.filesDir(st.ID), "hosts"))
	must(w.t, err)
	return string(b)
}

// TestWhoJoinsFindsTheNamesThere has it run since before.
func TestWhoJoinsFindsTheNamesThere(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "home"})
	w.network(catenet.NetworkSpec{Name: "n", Internal: true})
	w.mustAttach("x", catenet.EndpointSpec{Network: "home"})
	there := w.mustAttach("db", catenet.EndpointSpec{Network: "n"}).Endpoints[0].IPv4.Addr().String()
	_, err := w.Connect(ctx, "n", "x", catenet.EndpointSpec{})
	must(t, err)
	if got := w.ask("x", "db"); got != there {
		t.Errorf("joined, it finds db at %s, want %s", got, there)
	}
}

// TestANameInTwoNetworks is that of the network with the higher priority, in
// whatever order they were joined.
func TestANameInTwoNetworks(t *testing.T) {
	w := newWorld(t)
	at := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		w.network(catenet.NetworkSpec{Name: name})
		at[name] = w.mustAttach("db-"+name, catenet.EndpointSpec{Network: name, Aliases: []string{"db"}}).Endpoints[0].IPv4.Addr().String()
	}
	w.mustAttach("x", catenet.EndpointSpec{Network: "a"}, catenet.EndpointSpec{Network: "b", GwPriority: 1})
	if got := w.ask("x", "db"); got != at["b"] {
		t.Errorf("db is at %s, want %s, of b", got, at["b"])
	}
	_, err := w.Connect(ctx, "c", "x", catenet.EndpointSpec{GwPriority: 2})
	must(t, err)
	if got := w.ask("x", "db"); got != at["c"] {
		t.Errorf("connected to c, db is at %s, want %s", got, at["c"])
	}
	must(t, w.Disconnect(ctx, "c", "x", false))
	must(t, w.Disconnect(ctx, "b", "x", false))
	if got := w.ask("x", "db"); got != at["a"] {
		t.Errorf("left with a, db is at %s, want %s", got, at["a"])
	}
}

// TestHostGatewayIsTheHost, by the network that has the default route.
func TestHostGatewayIsTheHost(t *testing.T) {
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "side"})
	n := w.network(catenet.NetworkSpec{Name: "way", IPv6: true})
	want := fmt.Sprint(n.Pools[0].Gateway, " ", n.Pools[1].Gateway)
	side, way := catenet.EndpointSpec{Network: "side"}, catenet.EndpointSpec{Network: "way", GwPriority: 1}
	for name, networks := range map[string][]catenet.EndpointSpec{"last": {side, way}, "first": {way, side}} {
		st, err := w.run(catenet.SandboxSpec{Name: name, Networks: networks, ExtraHosts: []catenet.HostEntry{{Name: "box", Addr: catenet.HostGateway}}})
		must(t, err)
		if got := w.ask(name, "box"); got != want {
			t.Errorf("%s: the resolver says %s, want %s", name, got, want)
		}
		for _, a := range strings.Fields(want) {
			if hosts := w.hosts(st); strings.Count(hosts, "\tbox\n") != 2 || !strings.Contains(hosts, a+"\tbox\n") {
				t.Errorf("%s: hosts lacks %s:\n%s", name, a, hosts)
			}
		}
	}
}

// TestWhoSharesANetworkIsKnownByBothNames in a hosts of its own, which it has
// where the namespace has none.
func TestWhoSharesANetworkIsKnownByBothNames(t *testing.T) {
	w := newWorld(t)
	pod, err := w.attachSpec(catenet.SandboxSpec{Name: "pod", Hostname: "www"})
	must(t, err)
	side, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:pod"})
	must(t, err)
	line := pod.Endpoints[0].IPv4.Addr().String() + "\t" + side.Hostname + " side www pod\n"
	if hosts := w.hosts(side); !strings.Contains(hosts, line) {
		t.Errorf("hosts lacks %q:\n%s", line, hosts)
	}
	if _, err := w.run(catenet.SandboxSpec{Name: "web", Hostname: "home"}); err != nil {
		t.Fatal(err)
	}
	if side, err = w.run(catenet.SandboxSpec{Name: "log", Mode: "container:web"}); err != nil || side.Hostname != "home" {
		t.Errorf("it has the files of home, and is called %s: %v", side.Hostname, err)
	}
}
