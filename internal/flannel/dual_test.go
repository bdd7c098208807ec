package flannel

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ip4(a, b, c, d byte, bits, i int) netip.Prefix {
	p := netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
	for range i {
		p = next(p)
	}
	return p
}

// dualHost is node i with both families.
func (w *world) dualHost(i int) *node {
	n := w.host(i)
	n.spec.PublicIPv6 = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
	n.spec.Backend = func(c Config) (BackendData, error) {
		if c.Backend.Type != BackendVXLAN {
			return BackendData{}, nil
		}
		return BackendData{V4: &VTEP{1, mac(i)}, V6: &VTEP{1, mac(100 + i)}}, nil
	}
	return n
}

func TestDualStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dual)
		a, b := w.dualHost(1).join().run(), w.dualHost(2).join().run()
		key := strings.TrimPrefix(a.key(), subnets)
		s, err := ParseKey(key)
		if err != nil || !s.IPv6.IsValid() || !strings.Contains(key, "-24&fd00:5:0:") || !strings.HasSuffix(key, "::-64") {
			t.Errorf("the key is %s (%v)", key, err)
		}
		if got, want := string(a.pair().Value), `{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"0e:00:00:00:00:65"}}`; got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
		peer := a.peers[strings.TrimPrefix(b.key(), subnets)]
		if peer.PublicIPv6 != b.spec.PublicIPv6 || peer.VTEP6 != mac(102) || peer.Subnets != b.part.Status().Subnets {
			t.Errorf("a has the peer %+v", peer)
		}
		// A node of IPv4 alone is a peer of that; hostile halves are refused.
		w.Force(subnets+"10.5.254.0-24", record(ip(9), mac(9)))
		w.Force(subnets+"10.5.253.0-24&fd00:6::-64", string(b.pair().Value))
		same := s
		same.IPv4 = netip.MustParsePrefix("10.5.252.0/24")
		w.Force(subnets+same.Key(), strings.NewReplacer("192.0.2.1", "192.0.2.8", "db8::1", "db8::8").Replace(string(a.pair().Value)))
		later(time.Second)
		if len(a.sees()) != 2 || len(a.part.Status().Refused) != 2 {
			t.Errorf("it sees %q and refuses %v", a.sees(), a.part.Status().Refused)
		}
		a.stop()
		b.stop()
	})
}

// What a node had is its again if both halves are free.
func TestPreviousOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dual)
		was := Subnets{netip.MustParsePrefix("10.5.7.0/24"), netip.MustParsePrefix("fd00:5:0:7::/64")}
		join := func(i int) Subnets {
			n := w.dualHost(i)
			n.spec.Previous = was
			return n.join().part.Status().Subnets
		}
		w.Force(subnets+"10.5.8.0-24&fd00:5:0:7::-64", "")
		if got := join(1); got == was {
			t.Errorf("it has %v, half of which is another's", got)
		}
		for _, p := range w.Pairs(subnets) { // what the first has chosen, too: it may be a half of these
			w.Drop(p.Key)
		}
		if got := join(2); got != was {
			t.Errorf("it had %v, and has %v", was, got)
		}
	})
}

// Of two nodes that have chosen the same subnet of one family only, since they
// came at once, the second gives way.
func TestHalfACollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dual)
		a, b := w.dualHost(1).join(), w.dualHost(2)
		clash := a.part.Status().Subnets
		clash.IPv6 = next(clash.IPv6)
		part, err := Resume(b.registry(), b.spec, State{Config: dual, Subnets: clash})
		if err != nil {
			t.Fatal(err)
		}
		b.part = part
		w.Force(subnets+clash.Key(), part.record)
		b.run()
		a.run()
		a.ownsIt()
		b.ownsIt()
		if got := b.part.Status().Subnets; got.IPv4 == clash.IPv4 {
			t.Errorf("both have %v", got.IPv4)
		}
		if len(w.Pairs(subnets)) != 2 {
			t.Errorf("the registry has %v", w.Pairs(subnets))
		}
		a.stop()
		b.stop()
	})
}

// udp knows no IPv6: its nodes take subnets of both families, and say no address
// of the second, as flanneld's do.
func TestRecordsOfBackends(t *testing.T) {
	for config, want := range map[string]string{
		`{"Network": "10.5.0.0/16"}`: `{"PublicIP":"192.0.2.1","PublicIPv6":null}`,
		`{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48"}`:                                 `{"PublicIP":"192.0.2.1","PublicIPv6":null}`,
		`{"Network": "10.5.0.0/16", "Backend": {"Type": "HOST-GW"}}`:                                                   `{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"host-gw"}`,
		`{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "host-gw"}}`: `{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"host-gw"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, config)
			a := w.dualHost(1).join()
			if got := string(a.pair().Value); got != want {
				t.Errorf("%s: wrote %s, want %s", config, got, want)
			}
		})
	}
	// A udp node's peers are of any type: its own say none.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `{"Network": "10.5.0.0/16"}`)
		a := w.host(1).join().run()
		w.Force(subnets+"10.5.254.0-24", `{"PublicIP":"192.0.2.7","PublicIPv6":null}`)
		w.Force(subnets+"10.5.253.0-24", `{"PublicIP":"192.0.2.8","BackendType":"udp"}`)
		later(time.Second)
		if len(a.sees()) != 2 {
			t.Errorf("it sees %q", a.sees())
		}
		a.stop()
	})
}
