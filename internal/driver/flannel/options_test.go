package flannel

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
)

// What is wrong is refused by its name, and a password is never repeated.
func TestOptionsAreChecked(t *testing.T) {
	d := newDriver(etcdtest.New())
	for option, want := range map[string]string{
		"etcd=":                       "etcd servers",
		"etcd=192.0.2.9:2379":         "no URL of an etcd server",
		"etcd-cert=/c":                "needs its key",
		"etcd-ca=/c":                  "without TLS",
		"etcd-user=joe:secret":        "option etcd-user is not the whole path",
		"subnet-file=here":            "option subnet-file",
		"subnet-file=/here\x00":       "option subnet-file",
		"iface=../eth0":               "option iface",
		"public-ip=there":             "option public-ip",
		"public-ip=2001:db8::1":       "option public-ip",
		"public-ip=127.0.0.1":         "option public-ip",
		"public-ipv6=192.0.2.1":       "option public-ipv6",
		"bridge=br0":                  "option bridge",
		"ip-masq=perhaps":             "option ip-masq",
		"mtu=12":                      "option mtu",
		"write-config={}":             "Network",
		`write-config={"Network": 5}`: "Network",
		"unheard-of=1":                "unheard-of",
		`write-config={"Network": "10.5.0.0/16", "Backend": {"Type": "ipip"}}`: "ipip is not to be had here",
	} {
		err := d.Validate(spec(t, option))
		if err == nil || !strings.Contains(err.Error(), want) || catenet.HintOf(err) == "" && !strings.HasPrefix(option, "ip-masq") {
			t.Errorf("%s: %v (hint %q), want %q", option, err, catenet.HintOf(err), want)
		} else if strings.Contains(err.Error()+catenet.HintOf(err), "secret") {
			t.Errorf("%s: the password is told: %v", option, err)
		}
	}
	for _, c := range []struct {
		want   string
		change func(*catenet.NetworkSpec)
	}{
		{"internal", func(s *catenet.NetworkSpec) { s.Internal = true }},
		{"IPv4", func(s *catenet.NetworkSpec) { s.DisableIPv4, s.IPv6 = true, true }},
		{"enable_icc", func(s *catenet.NetworkSpec) {
			s.Options["bridge"], s.Options["com.docker.network.bridge.enable_icc"] = "none", "false"
		}},
	} {
		asked := spec(t)
		c.change(&asked)
		if err := d.Validate(asked); err == nil || !strings.Contains(err.Error(), c.want) || catenet.HintOf(err) == "" {
			t.Errorf("%v (hint %q), want %q", err, catenet.HintOf(err), c.want)
		}
	}
	both := spec(t, "ip-masq=true", optMasquerade+"=true")
	if err := d.Validate(both); !catenet.IsInvalid(err) || !strings.Contains(err.Error(), "one and the same") {
		t.Errorf("%v: %v", both.Options, err)
	}
}

// What is asked for in words of flanneld's reaches who does it.
func TestOptionsAreRead(t *testing.T) {
	user := t.TempDir() + "/user"
	if err := os.WriteFile(user, []byte("joe:very:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg etcd.Config
	d := New(bridge.New(), nil, func(c etcd.Config) (etcd.Store, error) { cfg = c; return etcdtest.New().Client(), nil }, nil)
	asked := spec(t, "etcd=https://192.0.2.9:2379, https://192.0.2.10:2379", "etcd-ca=/ca", "etcd-user="+user, "ip-masq=false", catenet.OptionBridge+"=wide0")
	before := maps.Clone(asked.Options)
	o, err := d.parse(asked)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.store(o); err != nil || len(cfg.Endpoints) != 2 || cfg.CA != "/ca" || cfg.User != "joe" || cfg.Password != "very:secret" {
		t.Errorf("etcd is asked as %+v (%v)", cfg, err)
	}
	if want := map[string]string{catenet.OptionBridge: "wide0", optMasquerade: "false"}; !maps.Equal(o.base.Options, want) || !maps.Equal(before, asked.Options) {
		t.Errorf("the bridge driver sees %v, the network has %v", o.base.Options, asked.Options)
	}
	if err := os.WriteFile(user, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store(o); !catenet.IsInvalid(err) {
		t.Errorf("an empty file of credentials: %v", err)
	}
}
