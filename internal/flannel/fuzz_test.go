package flannel

import (
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// A config that is taken has subnets to hand out, all of them within its network;
// one that is refused is refused by a kind and a hint.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(vxlan))
	f.Add([]byte(dual))
	f.Add([]byte(`{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","Backend":{"Type":"udp","Port":7890}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			if catenet.KindOf(err) == catenet.KindInternal || catenet.HintOf(err) == "" {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		s, err := c.choose(nil, standpoint{}, Subnets{})
		if err != nil || !c.fits(s) || !within(s.IPv4, c.Network) || c.EnableIPv6 && !within(s.IPv6, c.IPv6Network) {
			t.Errorf("%q: chose %v of %+v (%v)", text, s, c, err)
		}
	})
}

// A key that is read is written the same again.
func FuzzKey(f *testing.F) {
	f.Add("10.5.48.0-24")
	f.Add("10.5.48.0-24&fd00::-64")
	f.Add("10.5.48.0-024")
	f.Fuzz(func(t *testing.T, key string) {
		if s, err := ParseKey(key); err == nil && s.Key() != key {
			t.Errorf("%q is %v, whose key is %q", key, s, s.Key())
		}
	})
}

// Whatever others write, a peer of it is one that could be: in the network, at an
// address, in a vxlan network with a station's MAC, and apart from this node.
func FuzzRecord(f *testing.F) {
	f.Add("10.5.48.0-24", []byte(record(ip(2), mac(2))), vxlan)
	f.Add("10.5.48.0-24&fd00:5:0:1::-64", []byte(`{"PublicIP":"192.0.2.2","PublicIPv6":"2001:db8::2","BackendType":"host-gw"}`), dual)
	f.Add("10.5.48.0-24", []byte(`{"PublicIP":"192.0.2.2"}`), `{"Network":"10.5.0.0/16"}`)
	f.Fuzz(func(t *testing.T, key string, value []byte, config string) {
		c, err := ParseConfig([]byte(config))
		if err != nil {
			return
		}
		own, err := c.choose(nil, standpoint{}, Subnets{})
		if err != nil {
			t.Fatal(err)
		}
		e := readEntry(key, etcd.Pair{Value: value}, c)
		for _, p := range viewOf(map[string]*entry{key: e}, standpoint{Peer{Subnets: own, PublicIP: ip(1)}, nil}).peers {
			if !within(p.IPv4, c.Network) || p.IPv4.Overlaps(own.IPv4) || !p.PublicIP.Is4() || p.PublicIP == ip(1) || p.contains(p.PublicIP) {
				t.Errorf("%q %q is the peer %+v of %v", key, value, p, own)
			}
			if p.IPv6.IsValid() != p.PublicIPv6.IsValid() || p.IPv6.IsValid() && !within(p.IPv6, c.IPv6Network) {
				t.Errorf("%q %q has the half %+v", key, value, p)
			}
			if c.Backend.Type == BackendVXLAN && (p.VTEP4 == MAC{} || p.VTEP4[0]&1 != 0) {
				t.Errorf("%q %q has the MAC %v", key, value, p.VTEP4)
			}
		}
	})
}

// What is read of subnet.env can be written there.
func FuzzEnv(f *testing.F) {
	f.Add([]byte("FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.48.1/24\nFLANNEL_IPV6_SUBNET=fd00::1/64\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := parseEnv(text)
		if s.IPv4.IsValid() && s.IPv4.Bits() < 32 {
			if got := parseEnv(Env{Network: s.IPv4, IPv6Network: s.IPv6, Subnets: s}.Text()); got.IPv4 != s.IPv4 {
				t.Errorf("%q has %v, which is read again as %v", text, s, got)
			}
		}
	})
}
