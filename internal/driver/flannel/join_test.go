package flannel

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

const (
	configKey  = flannel.DefaultPrefix + "/config"
	subnetKeys = flannel.DefaultPrefix + "/subnets/"
	vxlan      = `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`
	hostGW     = `{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}`
	udp        = `{"Network": "10.5.0.0/16"}`
	dual       = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}`
)

// A part is what the registry says, and what the underlay leaves of its MTU; it is given
// back with its key and file, and only those.
func TestJoinAndLeave(t *testing.T) {
	for config, mtu := range map[string]int{vxlan: 1450, dual: 1450, hostGW: 1500, udp: 1472,
		`{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "MTU": 9000}}`: 8950} {
		store := etcdtest.New()
		d, k := newDriver(store), fake.New()
		n := join(t, d, k, "b1", "write-config="+config)
		pairs := store.Pairs(subnetKeys)
		families := 1
		if config == dual {
			families = 2
		}
		if n.Part.MTU != mtu || len(pairs) != 1 || len(n.Part.Subnets) != families || len(n.Part.Span) != families || !strings.Contains(string(pairs[0].Value), `"PublicIP":"192.0.2.1"`) {
			t.Errorf("%s: part %+v, in the registry %+v", config, n.Part, pairs)
		}
		if got := k.String(); strings.Contains(got, "flannel") {
			t.Errorf("%s: joining made\n%s", config, got)
		}
		o, p, err := d.read(n)
		if err != nil {
			t.Fatal(err)
		}
		again := n
		again.Part, again.Pools = nil, nil
		if part, err := d.Join(context.Background(), k, again, ahead); err != nil || part.Subnets[0] != n.Part.Subnets[0] {
			t.Errorf("%s: joined again: %+v (%v)", config, part, err)
		}
		if err := flannel.WriteEnv(o.file, p.env(true)); err != nil {
			t.Fatal(err)
		}
		bare := n // as it is on record before it has a part
		bare.Part = nil
		if err := d.Leave(context.Background(), bare); err != nil || len(store.Pairs(subnetKeys)) != 0 {
			t.Errorf("%s: after it has left (%v) the registry has %+v", config, err, store.Pairs(subnetKeys))
		}
		if err := d.Down(context.Background(), k, n); err != nil {
			t.Errorf("%s: down: %v", config, err)
		}
		if _, err := os.Stat(o.file); !os.IsNotExist(err) {
			t.Errorf("%s: down leaves the subnet file (%v)", config, err)
		}
		if err := flannel.WriteEnv(o.file, flannel.Env{Network: p.config.Network, Subnets: p.Subnets, MTU: 9}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Leave(context.Background(), n), d.Down(context.Background(), k, n)); err != nil {
			t.Errorf("%s: leaving again: %v", config, err)
		}
		if _, err := os.Stat(o.file); err != nil {
			t.Errorf("%s: somebody else's subnet file is gone (%v)", config, err)
		}
	}
}

// An address that others translate is what the registry knows; what is sent comes from
// the host's own.
func TestReachedElsewhere(t *testing.T) {
	for _, config := range []string{vxlan, udp} {
		store := etcdtest.New()
		store.Force(configKey, config)
		d := newDriver(store)
		_, p, err := d.read(join(t, d, fake.New(), "b1", "iface=", "public-ip=198.51.100.1"))
		if err != nil || p.Under != "eth0" || p.Local4.String() != "192.0.2.1" || !strings.Contains(string(store.Pairs(subnetKeys)[0].Value), `"PublicIP":"198.51.100.1"`) {
			t.Errorf("%s: it is at %+v (%v), and known as %s", config, p.site, err, store.Pairs(subnetKeys)[0].Value)
		}
	}
}

// Who cannot take part is told why, and takes nothing.
func TestJoinIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		option string
		change func(*fake.Kernel, *catenet.Network)
		want   string
	}{
		"a subnet of its own": {vxlan, "", func(_ *fake.Kernel, n *catenet.Network) { n.Pools = make([]catenet.Pool, 1) }, "come from its registry"},
		"no config":           {"", "", nil, configKey},
		"a wrong config":      {`{"Network": "10.5.0.0/16", "SubnetLen": 3}`, "", nil, "SubnetLen"},
		"another config":      {hostGW, "write-config=" + vxlan, nil, hostGW},
		"wireguard":           {`{"Network": "10.5.0.0/16", "Backend": {"Type": "wireguard"}}`, "", nil, "wireguard"},
		"another network's":   {hostGW, "", nil, "10.5.0.0/16] is taken"},
		"no IPv6":             {vxlan, "", func(_ *fake.Kernel, n *catenet.Network) { n.IPv6 = true }, "no IPv6"},
		"no such link":        {vxlan, "iface=eth7", nil, "eth7"},
		"Docker's bridge": {vxlan, "", func(k *fake.Kernel, n *catenet.Network) {
			if err := os.WriteFile(n.Options[optFile], []byte("FLANNEL_SUBNET=10.5.1.1/24\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			k.Add(kernel.Link{Name: "docker0", Kind: "bridge", Addrs: []netip.Prefix{netip.MustParsePrefix("10.5.1.1/24")}})
		}, "the address 10.5.1.1 already"},
		"another's file": {vxlan, "", func(_ *fake.Kernel, n *catenet.Network) {
			if err := os.WriteFile(n.Options[optFile], []byte("FLANNEL_SUBNET=10.9.1.1/24\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "tells of another network's 10.9.1.0/24"},
		"host-gw elsewhere": {hostGW, "public-ip=198.51.100.1", nil, "public-ip"},
		"no room":           {udp, "", func(k *fake.Kernel, _ *catenet.Network) { k.Uplink("eth0", 90) }, "too small"},
		"a long name":       {`{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": 16777215}}`, "", nil, "Backend.VNI"},
		"flanneld's device": {vxlan, "", func(k *fake.Kernel, _ *catenet.Network) {
			if err := k.EnsureLink(context.Background(), kernel.Link{Name: "flannel.1", Kind: "vxlan", Alias: "flanneld"}); err != nil {
				t.Fatal(err)
			}
		}, "flannel.1"},
	} {
		store, k := etcdtest.New(), fake.New()
		if c.config != "" {
			store.Force(configKey, c.config)
		}
		n := catenet.Network{ID: strings.Repeat("b1", 32), NetworkSpec: spec(t, c.option)}
		if c.option == "" {
			n.NetworkSpec = spec(t)
		}
		if c.change != nil {
			c.change(k, &n)
		}
		ahead := ahead
		if name == "another network's" {
			ahead = func(span []netip.Prefix) error { return catenet.Conflictf("%v is taken", span).WithHint("choose") }
		}
		_, err := newDriver(store).Join(context.Background(), k, n, ahead)
		if err == nil || !strings.Contains(err.Error(), c.want) || catenet.HintOf(err) == "" {
			t.Errorf("%s: %v (hint %q), want %q", name, err, catenet.HintOf(err), c.want)
		}
		if left := store.Pairs(subnetKeys); len(left) != 0 {
			t.Errorf("%s: it has taken %+v", name, left)
		}
	}
}

// Who cannot be in time is told what to look at, in words of the one who asks.
func TestJoinAdvises(t *testing.T) {
	store := etcdtest.New()
	hint := func(options ...string) string {
		_, err := newDriver(store).Join(t.Context(), fake.New(), catenet.Network{ID: strings.Repeat("b1", 32), NetworkSpec: spec(t, options...)}, ahead)
		return catenet.HintOf(err)
	}
	if got := hint(); !strings.Contains(got, "etcdctl put "+configKey) || !strings.Contains(got, "-o write-config=") {
		t.Errorf("without a config: %q", got)
	}
	if got := hint("bridge=none"); !strings.Contains(got, "etcdctl put "+configKey) || strings.Contains(got, "-o ") {
		t.Errorf("without a config, for flanneld's stand-in: %q", got)
	}
	if got := hint("iface=eth7"); !strings.Contains(got, "-o iface=eth0") {
		t.Errorf("without such a link: %q", got)
	}
	store.Stop()
	if got := hint(); !strings.Contains(got, "runs at http://192.0.2.9:2379") {
		t.Errorf("without etcd: %q", got)
	}
}

// What flanneld has left is this network's if it is as its config has it, and flanneld
// has ended: with its MAC, of which the others know. What is otherwise is named.
func TestJoinInherits(t *testing.T) {
	left := kernel.Link{Name: "flannel.1", Kind: "vxlan", MTU: 1450, MAC: []byte{0x3a, 1, 2, 3, 4, 5},
		VXLAN: &kernel.VXLAN{VNI: 1, Port: 8472, Local: netip.MustParseAddr("192.0.2.1"), Under: "eth0"}}
	store, k := etcdtest.New(), fake.New()
	store.Force(configKey, vxlan)
	k.Add(left)
	d := newDriver(store)
	n := join(t, d, k, "b1", "bridge=none")
	if pairs := store.Pairs(subnetKeys); len(pairs) != 1 || !strings.Contains(string(pairs[0].Value), `"VtepMAC":"3a:01:02:03:04:05"`) {
		t.Errorf("in the registry is %+v", pairs)
	}
	if _, err := d.Up(context.Background(), k, n); err != nil {
		t.Fatal(err)
	}
	if l, err := k.Link(context.Background(), "flannel.1"); err != nil || l.Alias != kernel.Mark+n.ID || l.MAC.String() != "3a:01:02:03:04:05" {
		t.Errorf("the device is %+v, %v", l, err)
	}

	for want, change := range map[string]func(*kernel.Link, *fake.Kernel){
		"flanneld runs here":                  func(_ *kernel.Link, k *fake.Kernel) { k.Start("flanneld") },
		"network c1c1c1c1c1c1 of this host":   func(l *kernel.Link, _ *fake.Kernel) { l.Alias = kernel.Mark + strings.Repeat("c1", 32) },
		"alias is mine":                       func(l *kernel.Link, _ *fake.Kernel) { l.Alias = "mine" },
		"Port is 4789, not 8472":              func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.Port = 4789 },
		"VNI is 2, not 1":                     func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.VNI = 2 },
		"GBP is true, not false":              func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.GBP = true },
		"Learning is true, not false":         func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.Learning = true },
		"address is 192.0.2.9, not 192.0.2.1": func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.Local = netip.MustParseAddr("192.0.2.9") },
		"the link that it goes by is eth1":    func(l *kernel.Link, _ *fake.Kernel) { l.VXLAN.Under = "eth1" },
		`its kind is "bridge", not vxlan`:     func(l *kernel.Link, _ *fake.Kernel) { l.Kind, l.VXLAN = "bridge", nil },
	} {
		store, k, l, v := etcdtest.New(), fake.New(), left, *left.VXLAN
		store.Force(configKey, vxlan)
		l.VXLAN = &v
		change(&l, k)
		k.Add(l)
		_, err := newDriver(store).Join(context.Background(), k, catenet.Network{ID: strings.Repeat("b1", 32), NetworkSpec: spec(t)}, ahead)
		if !catenet.IsConflict(err) || !strings.Contains(err.Error(), want) || catenet.HintOf(err) == "" || len(store.Pairs(subnetKeys)) != 0 {
			t.Errorf("%v (hint %q), want %q; it has taken %v", err, catenet.HintOf(err), want, store.Pairs(subnetKeys))
		}
	}
}

// It is known that something is about to be taken before that is so; where it cannot be
// put on record nothing is.
func TestJoinIsOnRecordFirst(t *testing.T) {
	store, full := etcdtest.New(), errors.New("no room for a record")
	store.Force(configKey, hostGW)
	_, err := newDriver(store).Join(context.Background(), fake.New(), catenet.Network{ID: strings.Repeat("b1", 32), NetworkSpec: spec(t)}, func([]netip.Prefix) error { return full })
	if !errors.Is(err, full) || len(store.Pairs(subnetKeys))+store.Leases() != 0 {
		t.Errorf("joined (%v), the registry has %v and %d leases", err, store.Pairs(subnetKeys), store.Leases())
	}
}

// A network that stands for somebody else's containers has no bridge, and hides nobody
// unless it is asked to.
func TestWithoutABridge(t *testing.T) {
	for hides, options := range map[bool][]string{false: {"bridge=none"}, true: {"bridge=none", "ip-masq=true"}} {
		n, k := joined(t, "b1", vxlan, options...), fake.New()
		d := newDriver(etcdtest.New())
		state, err := d.Up(context.Background(), k, n)
		if w := state.Firewall[0]; err != nil || w.Link != "" || len(w.Span) != 1 || len(w.By) != 1 || w.V4.Masquerade != hides || strings.Contains(k.String(), "bridge") {
			t.Errorf("%v: wants %+v (%v), and there is\n%s", options, w, err, k)
		}
		if !strings.Contains(k.String(), "ip_forward=1") {
			t.Errorf("nothing is forwarded to the containers of others:\n%s", k)
		}
		if err := d.ValidateEndpoint(n, catenet.EndpointSpec{}); !catenet.IsUnsupported(err) {
			t.Errorf("an endpoint: %v", err)
		}
		if err := d.Down(context.Background(), k, n); err != nil || strings.Contains(k.String(), "flannel") {
			t.Errorf("down (%v) leaves\n%s", err, k)
		}
	}
}
