package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	g := newGround(t)
	g.a.Catenet("network", "create", "--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.128/26", "--gateway", "10.77.0.254",
		"--aux-address", "router=10.77.0.129", "fix")
	g.idle("one", "--network", "fix")
	g.idle("two", "--network", "fix")
	if a, b := g.addr4("one"), g.addr4("two"); !a.Less(b) || !netip.MustParsePrefix("10.77.0.128/26").Contains(a) || a.String() == "10.77.0.129" {
		t.Errorf("addresses %s, %s: want rising ones of the range, without router's", a, b)
	}
	two := g.addr4("two")
	g.a.Catenet("rm", "-f", "two")
	g.idle("three", "--network", "fix")
	if got := g.addr4("three"); got == two {
		t.Errorf("%s was given again at once", got)
	}

	g.idle("pinned", "--network", "fix:ip=10.77.0.50,mac=02:00:00:00:00:50,interface_name=lan0")
	out := g.a.Exec("pinned", "ip", "addr", "show", "lan0").Text()
	if !strings.Contains(out, "10.77.0.50/24") || !strings.Contains(out, "02:00:00:00:00:50") {
		t.Errorf("pinned has %s", out)
	}
	if got := g.a.Exec("pinned", "ip", "route", "show", "default").Text(); !strings.Contains(got, "10.77.0.254") {
		t.Errorf("the gateway is %q", got)
	}

	// The fixed address of a stopped container is kept for it.
	g.a.Catenet("stop", "-t", "1", "pinned")
	g.a.Refused([]string{"10.77.0.50", "pinned"}, "run", "-d", "--network", "fix:ip=10.77.0.50", "--", "sleep", "60")
	g.a.Kill()
	g.a.Daemon()
	g.a.Refused([]string{"10.77.0.50"}, "run", "-d", "--network", "fix:ip=10.77.0.50", "--", "sleep", "60")
	g.a.Catenet("start", "pinned")
	if got := g.addr4("pinned").String(); got != "10.77.0.50" {
		t.Errorf("after its start pinned has %s", got)
	}
	g.a.Catenet("rm", "-f", "pinned")
	g.idle("heir", "--network", "fix:ip=10.77.0.50")
}

func TestUsedAndFree(t *testing.T) {
	g := newGround(t)
	use := func(network string) (used, free uint64) {
		t.Helper()
		var got []struct {
			Status struct {
				IPAM struct {
					Subnets map[string]struct{ IPsInUse, DynamicIPsAvailable uint64 }
				}
			}
		}
		if err := json.Unmarshal([]byte(g.a.Catenet("network", "inspect", network)), &got); err != nil {
			t.Fatal(err)
		}
		for _, s := range got[0].Status.IPAM.Subnets {
			used, free = s.IPsInUse, s.DynamicIPsAvailable
		}
		return used, free
	}
	g.a.Catenet("network", "create", "--subnet", "10.78.0.0/29", "small")
	used, free := use("small")
	g.idle("one", "--network", "small")
	if u, f := use("small"); u != used+1 || f != free-1 {
		t.Errorf("with one more container %d used, %d free; before it was %d, %d", u, f, used, free)
	}
	for range free - 1 {
		g.a.Catenet("run", "-d", "--network", "small", "--", "sleep", "600")
	}
	g.a.Refused([]string{"10.78.0.0/29", "small"}, "run", "-d", "--network", "small", "--", "sleep", "60")
	if _, f := use("small"); f != 0 {
		t.Errorf("the full network has %d free", f)
	}
	g.a.Catenet("rm", "-f", "one")
	g.idle("again", "--network", "small")
}

func TestChosenPoolsAvoidTheHostsRoutes(t *testing.T) {
	g := newGround(t)
	// All but one of the pools that would be chosen are routed elsewhere.
	g.a.MustRun("ip", "route", "add", "172.16.0.0/12", "via", g.out.Addr4.String())
	g.a.MustRun("ip", "route", "add", "192.168.0.0/17", "via", g.out.Addr4.String())
	for _, n := range []string{"n1", "n2", "n3"} {
		g.a.Catenet("network", "create", n)
		g.idle("in-"+n, "--network", n)
		got := g.endpoint("in-" + n).IPv4.Masked()
		for _, taken := range []string{"172.16.0.0/12", "192.168.0.0/17", "192.0.2.0/24"} {
			if got.Overlaps(netip.MustParsePrefix(taken)) {
				t.Errorf("%s was given %s, which the host routes as part of %s", n, got, taken)
			}
		}
	}
}

func TestDefaultAddressPools(t *testing.T) {
	g := newGround(t, "--default-address-pool", "base=10.99.0.0/25,size=26")
	subnet := func(network string) string {
		var n []struct {
			IPAM struct{ Config []struct{ Subnet string } }
		}
		g.a.Inspect(&n, "network", "inspect", network)
		return n[0].IPAM.Config[0].Subnet
	}
	g.a.Catenet("network", "create", "front")
	if got := []string{subnet("bridge"), subnet("front")}; got[0] != "10.99.0.0/26" || got[1] != "10.99.0.64/26" {
		t.Errorf("the subnets are %s", got)
	}
	g.serve("web", "--network", "front")
	g.a.Refused([]string{"default pools", "--subnet"}, "network", "create", "second")

	// Other pools are for other networks: what there is stays as it is.
	g.a.Stop()
	settings := filepath.Join(g.a.Dir, "catenet.yaml")
	if err := os.WriteFile(settings, []byte("default-address-pools:\n- base: 10.98.0.0/16\n  size: 28\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.a.Daemon("--config", settings)
	g.a.Catenet("network", "create", "second")
	if got := []string{subnet("bridge"), subnet("front"), subnet("second")}; fmt.Sprint(got) != "[10.99.0.0/26 10.99.0.64/26 10.98.0.0/28]" {
		t.Errorf("the subnets are %s", got)
	}
	g.serve("db", "--network", "second", "--network", "front")
	g.answers(g.a, g.ns("db"), "tcp", at(g.addr4("web"), 80), "web")
}
