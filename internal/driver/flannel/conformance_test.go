package flannel

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/driver/conformance"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// newDriver returns the driver of a host whose registry is in memory.
func newDriver(store *etcdtest.Cluster) Driver {
	return New(bridge.New(), new(fake.Tunnels), func(etcd.Config) (etcd.Store, error) { return store.Client(), nil }, slog.New(slog.DiscardHandler))
}

// spec asks for a network, with options as KEY=VALUE.
func spec(t testing.TB, options ...string) catenet.NetworkSpec {
	s := catenet.NetworkSpec{Name: "wide", Driver: "flannel", Options: map[string]string{
		optEtcd: "http://192.0.2.9:2379", optFile: t.TempDir() + "/subnet.env", optIface: "eth0"}}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		s.Options[key] = value
	}
	return s
}

// joined returns a network that has a part of the network that a config describes.
func joined(t testing.TB, id, config string, options ...string) catenet.Network {
	t.Helper()
	store := etcdtest.New()
	store.Force(flannel.DefaultPrefix+"/config", config)
	return join(t, newDriver(store), fake.New(), id, options...)
}

// ahead has every network fit.
func ahead([]netip.Prefix) error { return nil }

// join has a host take part.
func join(t testing.TB, d Driver, k *fake.Kernel, id string, options ...string) catenet.Network {
	t.Helper()
	n := catenet.Network{ID: strings.Repeat(id, 32), NetworkSpec: spec(t, options...)}
	part, err := d.Join(context.Background(), k, n, ahead)
	if err != nil {
		t.Fatal(err)
	}
	n.Part = &part
	for _, s := range part.Subnets {
		n.Pools = append(n.Pools, catenet.Pool{Subnet: s, Gateway: s.Addr().Next()})
		n.IPv6 = n.IPv6 || s.Addr().Is6()
	}
	return n
}

// without takes the underlay's IPv6 away, which the real host of the suite lacks.
func without6(t testing.TB, n catenet.Network) catenet.Network {
	var p held
	if err := json.Unmarshal([]byte(n.Part.Data), &p); err != nil {
		t.Fatal(err)
	}
	p.Local6 = netip.MustParseAddr("fd00::1")
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	n.Part.Data = string(text)
	return n
}

func TestConformance(t *testing.T) {
	named := func(n catenet.Network, name string) catenet.Network { n.Name = name; return n }
	conformance.Run(t, newDriver(etcdtest.New()),
		named(joined(t, "b1", `{"Network": "10.81.0.0/16", "Backend": {"Type": "vxlan", "VNI": 81}}`), "vxlan"),
		named(without6(t, joined(t, "b2", `{"Network": "10.82.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:82::/48", "Backend": {"Type": "vxlan", "VNI": 82, "Port": 4789, "DirectRouting": true}}`)), "dual"),
		named(joined(t, "b3", `{"Network": "10.83.0.0/16", "Backend": {"Type": "host-gw"}}`), "hostgw"),
		named(joined(t, "b4", `{"Network": "10.84.0.0/16"}`), "udp"),
		named(joined(t, "b5", `{"Network": "10.85.0.0/16", "Backend": {"Type": "vxlan", "VNI": 85}}`, "mtu=1300"), "small"),
	)
}
