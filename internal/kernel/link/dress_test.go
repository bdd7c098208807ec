package link

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func via(dst, gateway string) kernel.Route {
	return kernel.Route{Dst: netip.MustParsePrefix(dst), Gateway: netip.MustParseAddr(gateway)}
}

// dualBridge is a second bridge, with both families.
func dualBridge() kernel.Link {
	return kernel.Link{Name: "br1", Kind: "bridge", Alias: kernel.Mark + "dual", MTU: 1400,
		Addrs: prefixes("10.10.0.1/24", "fd00:10::1/64")}
}

func dualInside() kernel.Interface {
	return kernel.Interface{Link: "eth1", Name: "eth1", Alias: kernel.Mark + "000000000002", MTU: 1400, MAC: mac(2),
		Addrs: prefixes("10.10.0.2/24", "fd00:10::2/64"), Routes: []kernel.Route{via("::/0", "fd00:10::1")},
		Sysctls: map[string]string{"net.ipv4.conf.IFNAME.forwarding": "0", "net.ipv4.conf.IFNAME.rp_filter": "2"}}
}

// attachDual joins the container to a second network.
func (a *attached) attachDual(inside kernel.Interface, rest ...kernel.Interface) {
	a.t.Helper()
	veth := vethLink(2, a.ns, "eth1")
	veth.Master, veth.MTU = "br1", 1400
	for _, l := range []kernel.Link{dualBridge(), veth} {
		if err := a.h.EnsureLink(a.t.Context(), l); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := a.h.Dress(a.t.Context(), a.ns, kernel.Outfit{Interfaces: append(rest, inside)}); err != nil {
		a.t.Fatal(err)
	}
}

func TestDressDualStack(t *testing.T) {
	a := newAttached(t)
	a.attachDual(dualInside())
	before := a.h.Writes()
	a.attachDual(dualInside())
	if n := a.h.Writes() - before; n != 0 {
		t.Errorf("a second pass wrote %d changes", n)
	}
	a.ctr.Run("ping", "-c1", "-W2", "10.10.0.1")
	a.ctr.Run("ping", "-6", "-c1", "-W2", "fd00:10::1")
	for key, want := range map[string]string{
		"net.ipv6.conf.eth1.accept_ra": "0", "net.ipv6.conf.eth1.disable_ipv6": "0",
		"net.ipv4.conf.eth1.rp_filter": "2", "net.ipv6.conf.eth0.disable_ipv6": "1",
	} {
		if got := strings.TrimSpace(a.ctr.Run("sysctl", "-n", key)); got != want {
			t.Errorf("%s is %s inside, want %s", key, got, want)
		}
	}
	if got := a.host.Run("sysctl", "-n", "net.ipv6.conf.br1.accept_ra"); got != "0\n" {
		t.Errorf("the bridge accepts router advertisements: %s", got)
	}
	// The MTU must outlast the ports.
	if err := a.h.DeleteLinks(t.Context(), vethLink(2, nil, "").Name); err != nil {
		t.Fatal(err)
	}
	if out := a.host.Run("ip", "link", "show", "br1"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("the bridge without ports: %s", out)
	}
}

// When the default route moves to another network, it is never gone.
func TestDefaultRouteMoves(t *testing.T) {
	a := newAttached(t)
	first, second := insideOf(1, "eth0"), dualInside()
	second.Routes = append(second.Routes, via("0.0.0.0/0", "10.10.0.1"))
	first.Routes = nil
	monitor := a.ctr.Command("ip", "monitor", "route")
	out := new(strings.Builder)
	monitor.Stdout = out
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	a.attachDual(second, first)
	if out := a.ctr.Run("ip", "route", "show", "default"); !strings.Contains(out, "via 10.10.0.1 dev eth1") || strings.Contains(out, "eth0") {
		t.Errorf("default route: %s", out)
	}
	first.Routes, second.Routes = insideOf(1, "eth0").Routes, second.Routes[:1]
	a.attachDual(second, first)
	if out := a.ctr.Run("ip", "route", "show", "default"); !strings.Contains(out, "via 10.9.0.1 dev eth0") || strings.Contains(out, "eth1") {
		t.Errorf("default route: %s", out)
	}
	monitor.Process.Kill()
	monitor.Wait()
	if strings.Contains(out.String(), "Deleted default") {
		t.Errorf("the default route was gone for a moment:\n%s", out)
	}
}

// A foreign default route is nobody's to replace.
func TestForeignRouteIsAConflict(t *testing.T) {
	a := newAttached(t)
	a.ctr.Run("ip", "route", "replace", "default", "via", "10.9.0.1", "proto", "static")
	before := a.state()
	if err := a.h.Dress(t.Context(), a.ns, a.outfit()); !catenet.IsConflict(err) {
		t.Errorf("%v, want a conflict", err)
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Error(diff)
	}
}

// Whatever fails, and however late, the namespace is as it was.
func TestDressUndoes(t *testing.T) {
	a := newAttached(t)
	veth := vethLink(2, a.ns, "eth1")
	veth.Master = ""
	if err := a.h.EnsureLink(t.Context(), veth); err != nil {
		t.Fatal(err)
	}
	a.ctr.Run("ip", "link", "set", "lo", "down")
	a.ctr.Run("ip", "link", "set", "eth0", "alias", "catenet:000000000001", "mtu", "1300")
	before := a.state()
	a.h.redirect = func(_ context.Context, o kernel.Outfit) error {
		if o.ResolverPort == 1 {
			return errors.New("no nf_tables today")
		}
		return nil
	}
	for name, spoil := range map[string]func(o *kernel.Outfit){
		"redirect":  func(o *kernel.Outfit) { o.ResolverPort = 1 },
		"gateway":   func(o *kernel.Outfit) { o.Interfaces[1].Routes = []kernel.Route{via("10.99.0.0/16", "224.0.0.5")} },
		"address":   func(o *kernel.Outfit) { o.Interfaces[1].Addrs = prefixes("10.10.0.2/24", "224.0.0.1/4", "ff02::1/64") },
		"sysctl":    func(o *kernel.Outfit) { o.Interfaces[1].Sysctls["net.ipv4.conf.IFNAME.forwarding"] = "maybe" },
		"no sysctl": func(o *kernel.Outfit) { o.Interfaces[1].Sysctls["net.ipv4.conf.IFNAME.nonsense"] = "1" },
		"only read": func(o *kernel.Outfit) { o.Interfaces[1].Sysctls["net.ipv4.conf.IFNAME.mc_forwarding"] = "1" },
		"outside":   func(o *kernel.Outfit) { o.Interfaces[1].Sysctls["net.ipv4.conf.IFNAME./../../kernel.hostname"] = "x" },
		"no link":   func(o *kernel.Outfit) { o.Interfaces = append(o.Interfaces, insideOf(3, "eth9")) },
		"name":      func(o *kernel.Outfit) { o.Interfaces[1].Name = "eth0" },
		"MTU":       func(o *kernel.Outfit) { o.Interfaces[1].MTU = 1 },
	} {
		o := kernel.Outfit{ResolverPort: 5353, Interfaces: []kernel.Interface{insideOf(1, "eth0"), dualInside()}}
		o.Interfaces[0].Routes = nil
		o.Interfaces[1].Name, o.Interfaces[1].NoIPv6 = "lan0", false
		spoil(&o)
		if err := a.h.Dress(t.Context(), a.ns, o); err == nil {
			t.Errorf("%s: no error", name)
		} else if (strings.Contains(name, "sysctl") || name == "only read") && !catenet.IsInvalid(err) {
			t.Errorf("%s: %v, want an invalid error", name, err)
		} else if strings.Contains(err.Error(), "undo") {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, a.state()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDressRenames(t *testing.T) {
	a := newAttached(t)
	l := vethLink(2, a.ns, "tmp")
	if err := a.h.EnsureLink(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	a.ctr.Run("ip", "link", "del", "eth0")
	i := insideOf(2, "tmp")
	i.Name = "eth0"
	o := kernel.Outfit{Interfaces: []kernel.Interface{i}}
	if err := a.h.Dress(t.Context(), a.ns, o); err != nil {
		t.Fatal(err)
	}
	a.ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
	before := a.h.Writes()
	if err := a.h.Dress(t.Context(), a.ns, o); err != nil || a.h.Writes() != before {
		t.Errorf("again: %v, %d writes", err, a.h.Writes()-before)
	}
}

func TestGatewayOutsideTheSubnet(t *testing.T) {
	t.Parallel()
	host, ctr := kerneltest.New(t), kerneltest.New(t)
	h, ns := openIn(t, host, nil), at(t, ctr.Path)
	l := vethLink(1, ns, "eth0")
	l.Master, l.Addrs = "", prefixes("169.254.7.7/32", "fd00:7::1/128")
	if err := h.EnsureLink(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	i := insideOf(1, "eth0")
	i.NoIPv6, i.Addrs = false, prefixes("10.9.0.3/32", "fd00:9::3/128")
	i.Routes = []kernel.Route{via("0.0.0.0/0", "169.254.7.7"), via("::/0", "fd00:7::1")}
	for range 2 {
		if err := h.Dress(t.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{i}}); err != nil {
			t.Fatal(err)
		}
	}
	host.Run("ip", "route", "add", "10.9.0.3", "dev", l.Name)
	host.Run("ip", "route", "add", "fd00:9::3", "dev", l.Name)
	ctr.Run("ping", "-c1", "-W2", "169.254.7.7")
	ctr.Run("ping", "-6", "-c1", "-W2", "fd00:7::1")
}

// The redirect follows the outfit: set, left alone, or taken away.
func TestRedirect(t *testing.T) {
	a := newAttached(t)
	var ports []uint16
	a.h.redirect = func(_ context.Context, o kernel.Outfit) error { ports = append(ports, o.ResolverPort); return nil }
	for _, o := range []kernel.Outfit{{ResolverPort: 5353}, {}, {NoResolver: true}} {
		if err := a.h.Dress(t.Context(), a.ns, o); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint16{5353, 0}, ports); diff != "" {
		t.Error(diff)
	}
}
