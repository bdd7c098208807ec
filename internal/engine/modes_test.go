package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// run starts a container.
func (w *world) run(s catenet.SandboxSpec) (catenet.SandboxStatus, error) {
	s.Owner, s.Process = catenet.OwnerRun, &catenet.Process{Args: []string{"sleep"}}
	return w.CreateSandbox(ctx, s, true)
}

func TestASharedNetworkIsThatOfOneContainerNotOfOneName(t *testing.T) {
	w := newWorld(t)
	first, err := w.run(catenet.SandboxSpec{Name: "web"})
	must(t, err)
	side, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:web"})
	must(t, err)
	if side.Mode != "container:"+first.ID {
		t.Errorf("it shares with %s", side.Mode)
	}
	if want := fmt.Sprintf("/proc/%d/ns/net", side.InitPID); side.NetnsPath != want {
		t.Errorf("its namespace is at %s, want %s: web may be started again in another one", side.NetnsPath, want)
	}
	must(t, w.Stop(ctx, "side", 0))
	must(t, w.Remove(ctx, "web", true))
	_, err = w.run(catenet.SandboxSpec{Name: "web"})
	must(t, err)
	if err := w.Start(ctx, "side"); !catenet.IsNotFound(err) || !strings.Contains(err.Error(), "shares") {
		t.Errorf("with another container of that name: %v", err)
	}
}

func TestAContainerInAnAttachedNamespaceAsksOurResolver(t *testing.T) {
	w := newWorld(t)
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "pod", ExtraHosts: []catenet.HostEntry{{Name: "db", Addr: "192.0.2.7"}}})
	must(t, err)
	side, err := w.run(catenet.SandboxSpec{Name: "side", Mode: "container:pod"})
	must(t, err)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(w.filesDir(side.ID), name))
		must(t, err)
		return string(b)
	}
	if got := read("resolv.conf"); !strings.Contains(got, "nameserver 127.0.0.11") {
		t.Errorf("resolv.conf:\n%s", got)
	}
	if got := read("hosts"); !strings.Contains(got, st.Endpoints[0].IPv4.Addr().String()) || !strings.Contains(got, "db") {
		t.Errorf("hosts:\n%s", got)
	}
}

func TestModesRefuseWhatTheyCannotDo(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(catenet.SandboxSpec{Name: "web"})
	must(t, err)
	gateway := []catenet.HostEntry{{Name: "x", Addr: catenet.HostGateway}}
	for name, s := range map[string]catenet.SandboxSpec{
		"--dns":      {Mode: "container:web", DNS: catenet.DNSConfig{Servers: []netip.Addr{addr("192.0.2.1")}}},
		"--add-host": {Mode: "container:web", ExtraHosts: gateway},
		"--hostname": {Mode: catenet.ModeHost, Hostname: "x"},
		"hostname":   {Mode: "container:web", Hostname: "x"},
		"gateway":    {Mode: catenet.ModeNone, ExtraHosts: gateway},
	} {
		if _, err := w.run(s); !catenet.IsInvalid(err) || !strings.Contains(err.Error()+catenet.HintOf(err), name) {
			t.Errorf("%s in mode %s: %v", name, s.Mode, err)
		}
	}
	st, err := w.run(catenet.SandboxSpec{Mode: catenet.ModeHost, ExtraHosts: gateway})
	must(t, err)
	b, err := os.ReadFile(filepath.Join(w.filesDir(st.ID), "hosts"))
	must(t, err)
	n, err := w.Network(ctx, "bridge")
	must(t, err)
	if want := n.Pools[0].Gateway.String() + "\tx"; !strings.Contains(string(b), want) {
		t.Errorf("hosts lacks %q:\n%s", want, b)
	}
}
