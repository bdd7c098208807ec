package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestUpgradesFailNoGuest replaces the daemon under what guests ask of it: calls
// of dockerd, each sent once, CNI's programs, and lookups of a container whose
// namespace dockerd made.
func TestUpgradesFailNoGuest(t *testing.T) {
	t.Parallel()
	lb := lab.New(t)
	g := &ground{lb, lb.Host("a"), nil}
	socket := filepath.Join(g.a.Dir, "plugin.sock")
	g.a.Daemon("--docker-plugin="+socket, "--docker-host=")
	front, steady := docks{lab.NewPlugin(socket), catenet.NewID(), netip.MustParsePrefix("10.66.0.0/24")}, catenet.NewID()
	t.Cleanup(front.Close)
	docked, pod := g.namespace("docked"), g.namespace("pod")
	if err := errors.Join(front.made(), front.joined(steady, "10.66.0.2", docked)); err != nil {
		t.Fatal(err)
	}
	name := "docker-" + filepath.Base(docked)
	g.Eventually(soon, func() string {
		return absent(g.a.Run("nsenter", "--net="+docked, "busybox", "nslookup", name, "127.0.0.11").Text(), "10.66.0.2")
	})
	var l load
	for _, proto := range []string{"udp", "tcp"} {
		l.lookups(docked, proto, name, false)
		l.lookups(docked, proto, name, true)
	}
	for i := range 3 {
		d := docks{lab.NewPlugin(socket), front.id, front.subnet}
		l.closers = append(l.closers, d.Close)
		l.run("an endpoint of dockerd's", func() error {
			id := catenet.NewID()
			if err := d.joined(id, fmt.Sprintf("10.66.0.%d", 10+i), fmt.Sprintf("/run/never/%d", i)); err != nil {
				return err
			}
			return errors.Join(d.Publish(d.id, id, uint16(8080+i)), d.left(id, fmt.Sprintf("10.66.0.%d", 10+i)))
		})
	}
	for range 2 {
		l.run("a dockerd that has just come", func() error {
			p := lab.NewPlugin(socket)
			defer p.Close()
			_, err := p.Call("Plugin.Activate", nil)
			return err
		})
	}
	l.run("a network of dockerd's", func() error {
		d := docks{front.Plugin, catenet.NewID(), netip.MustParsePrefix("10.67.0.0/24")}
		if err := d.made(); err != nil {
			return err
		}
		return d.gone()
	})
	l.run("a pod", func() error {
		for _, verb := range []string{"ADD", "DEL"} {
			if r := g.cni(verb, pod); r.Code != 0 {
				return fmt.Errorf("%s: exit %d: %s", verb, r.Code, r.Text())
			}
		}
		return nil
	})
	for range upgrades {
		g.upgrade()
		l.more(g)
	}
	l.stop(t)
	if err := errors.Join(front.left(steady, "10.66.0.2"), front.gone()); err != nil {
		t.Error(err)
	}
}

// namespace makes one, with lo up.
func (g *ground) namespace(name string) (path string) {
	g.T.Helper()
	name = g.Name(name)
	g.a.MustRun("ip", "netns", "add", name)
	g.T.Cleanup(func() { g.a.MustRun("ip", "netns", "del", name) })
	g.a.MustRun("ip", "-n", name, "link", "set", "lo", "up")
	return "/run/netns/" + name
}

// cni calls CNI's program for the namespace of a pod.
func (g *ground) cni(verb, netns string) lab.Result {
	conf := `{"cniVersion":"1.0.0","name":"pods","type":"catenet","bridge":"pods0","isGateway":true,"ipam":{"type":"host-local","subnet":"10.88.0.0/24"}}`
	return g.a.Feed(conf, "env", "CATENET_HOST=unix://"+g.a.Socket(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+filepath.Base(netns),
		"CNI_IFNAME=eth0", "CNI_NETNS="+netns, "CNI_PATH=/none", filepath.Join(lab.Binaries(g.T), "catenet-cni"))
}

// docks is a network of dockerd's, and who asks in its place.
type docks struct {
	*lab.Plugin
	id     string
	subnet netip.Prefix
}

func (d docks) made() error {
	if err := d.Pool(d.subnet); err != nil {
		return err
	}
	return d.Network(d.id, d.subnet)
}

func (d docks) gone() error { return errors.Join(d.NoNetwork(d.id), d.NoPool(d.subnet)) }

// joined has an endpoint wait for the namespace at path.
func (d docks) joined(id, addr, path string) error {
	a, err := d.Address(d.subnet, netip.MustParseAddr(addr))
	if err == nil {
		_, err = d.Join(d.id, id, netip.PrefixFrom(a, d.subnet.Bits()), path)
	}
	return err
}

func (d docks) left(id, addr string) error {
	return errors.Join(d.Leave(d.id, id), d.NoAddress(d.subnet, netip.MustParseAddr(addr)))
}
