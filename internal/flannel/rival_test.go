package flannel

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catenet/catenet"
)

// Two nodes that claim one PublicIP: the one that came second has the key, the
// first stands back and names both, and nobody writes over anybody. When the
// second is gone the first has its key again.
func TestTwoOfOnePublicIP(t *testing.T) {
	for _, config := range []string{vxlan, `{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}`} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, config)
			a := w.host(1).join().run()
			key := a.key()
			b := w.host(1)
			b.spec.Backend = func(c Config) (BackendData, error) {
				if c.Backend.Type != BackendVXLAN {
					return BackendData{}, nil
				}
				return BackendData{V4: &VTEP{1, mac(77)}}, nil
			}
			b.join().run()
			s := a.part.Status()
			if s.Owned || !catenet.IsConflict(s.Trouble) || catenet.HintOf(s.Trouble) == "" {
				t.Errorf("the first node: %+v", s)
			}
			if config == vxlan {
				a.says("level=WARN", "192.0.2.1", mac(1).String(), mac(77).String())
			}
			b.ownsIt()
			after := b.pair().Revision
			later(22 * time.Hour)
			if got := b.pair(); got.Revision != after || got.Key != key {
				t.Errorf("they fight for it: %+v", got)
			}
			later(48 * time.Hour)
			b.ownsIt()
			if a.part.Status().Owned {
				t.Error("after renewals of the second node, the first owns it too")
			}
			b.stop()
			a.stop()
			if err := Leave(t.Context(), a.registry(), a.spec.Lease); err != nil || b.pair().Value == nil {
				t.Errorf("the first node leaves with what is the second's (%v)", err)
			}
			a.run()
			later(25 * time.Hour) // the second's lease has ended
			a.ownsIt()
			a.stop()
		})
	}
}

// Records of others that would lead packets astray are never peers; each is named
// with its reason, and what is good beside them is a peer.
func TestHostileRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		w.Force(subnets+"10.5.7.0-24", record(ip(1), mac(1)))
		a := w.host(1).join().run()
		w.Force(subnets+"10.5.9.0-24", record(ip(2), mac(2)))
		m := mac(3).String()
		hostile := map[string][2]string{
			"10.5.7.0-25":            {record(ip(3), mac(3)), "overlaps 10.5.7.0/24"},
			"10.5.6.0-23":            {record(ip(3), mac(3)), "overlaps 10.5.7.0/24"},
			"10.5.8.0-23":            {record(ip(3), mac(3)), "overlaps 10.5.9.0/24"},
			"10.5.9.128-25":          {record(ip(3), mac(3)), "overlaps 10.5.9.0/24"},
			"10.5.0.0-16":            {record(ip(3), mac(3)), "no part of the network"},
			"0.0.0.0-0":              {record(ip(3), mac(3)), "no part of the network"},
			"192.168.1.0-24":         {record(ip(3), mac(3)), "no part of the network"},
			"10.5.10.1-24":           {record(ip(3), mac(3)), "no key"},
			"10.5.10.0-024":          {record(ip(3), mac(3)), "no key"},
			"10.5.10.0-33":           {record(ip(3), mac(3)), "no key"},
			"rubbish":                {record(ip(3), mac(3)), "no key"},
			"10.5.11.0-24":           {record(ip(1), mac(3)), "own PublicIP"},
			"10.5.12.0-24":           {strings.Replace(record(ip(3), mac(3)), m, "00:00:00:00:00:00", 1), "MAC"},
			"10.5.13.0-24":           {strings.Replace(record(ip(3), mac(3)), m, "ff:ff:ff:ff:ff:ff", 1), "MAC"},
			"10.5.14.0-24":           {strings.Replace(record(ip(3), mac(3)), m, "nonsense", 1), "MAC"},
			"10.5.15.0-24":           {`{"PublicIP":"192.0.2.3","BackendType":"vxlan"}`, "vxlan data"},
			"10.5.16.0-24":           {`{"PublicIP":"192.0.2.3","BackendType":"vxlan","BackendData":{}}`, "VtepMAC"},
			"10.5.17.0-24":           {`{"PublicIP":"192.0.2.3","BackendType":"host-gw"}`, "host-gw"},
			"10.5.18.0-24":           {`{"PublicIP":"192.0.2.3"}`, `""`},
			"10.5.19.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "127.0.0.1", 1), "127.0.0.1"},
			"10.5.29.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "240.0.0.1", 1), "240.0.0.1"},
			"10.5.30.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "0.1.2.3", 1), "0.1.2.3"},
			"10.5.20.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "10.5.20.1", 1), "inside"},
			"10.5.21.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "10.5.7.1", 1), "inside"},
			"10.5.22.0-24":           {strings.Replace(record(ip(3), mac(3)), "192.0.2.3", "2001:db8::1", 1), "2001:db8::1"},
			"10.5.31.0-24":           {record(ip(7), mac(1)), "own"},
			"10.5.23.0-24":           {`[]`, "cannot be read"},
			"10.5.24.0-24":           {`{"PublicIP":7}`, "cannot be read"},
			"10.5.25.0-24":           {`{}`, "PublicIP"},
			"10.5.26.0-24&fd00::-64": {"", "cannot be read"},
		}
		for key, h := range hostile {
			w.Force(subnets+key, h[0])
		}
		w.Force(subnets+"10.5.27.0-24", `{"PublicIP":"192.0.2.4","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0E:00:00:00:00:04","GBP":true},"Later":[]}`)
		later(time.Second)
		if got, want := strings.Join(a.sees(), "\n"), "10.5.27.0-24 192.0.2.4 0e:00:00:00:00:04\n10.5.9.0-24 192.0.2.2 0e:00:00:00:00:02"; got != want {
			t.Errorf("it sees\n%s\nwant\n%s", got, want)
		}
		refused := a.part.Status().Refused
		for _, r := range refused {
			if want := hostile[r.Key][1]; want == "" || !strings.Contains(r.Reason, want) {
				t.Errorf("%s is refused because %s; want %q", r.Key, r.Reason, want)
			}
			a.says("level=WARN", r.Key)
		}
		if len(refused) != len(hostile) {
			t.Errorf("%d of %d are refused: %v", len(refused), len(hostile), refused)
		}
		lines := strings.Count(a.log.String(), "\n")
		w.Force(subnets+"10.5.28.0-24", record(ip(5), mac(5)))
		later(time.Second)
		if strings.Count(a.log.String(), "\n") != lines {
			t.Error("what was refused before is said again")
		}
		w.host(6).join() // what is wider than the network takes nothing from it
		// Who has stood in the way goes: the next in age has the subnet.
		w.Drop(subnets + "10.5.8.0-23")
		w.Drop(subnets + "10.5.9.0-24")
		later(time.Second)
		if !strings.Contains(strings.Join(a.sees(), " "), "10.5.9.128-25") {
			t.Errorf("what overlapped is next, and it sees %q", a.sees())
		}
		a.ownsIt()
		a.stop()
	})
}

// Where hosts have addresses of the network itself, no subnet has one of them in it: not
// one that is chosen here, and none of a peer's, who would cut off others, or etcd.
func TestHostsInTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `{"Network": "192.0.0.0/16", "SubnetMin": "192.0.0.0", "SubnetMax": "192.0.4.0", "Backend": {"Type": "vxlan"}}`)
		a := w.host(1) // at 192.0.2.1, and etcd at 192.0.3.200
		a.servers = []netip.Addr{netip.MustParseAddr("192.0.3.200")}
		w.Force(subnets+"192.0.8.0-24", record(netip.MustParseAddr("192.0.1.77"), mac(8)))
		w.Force(subnets+"192.0.0.128-25", record(netip.MustParseAddr("198.51.100.9"), mac(9)))
		a.join().run()
		if own := a.part.Status().Subnets.IPv4.String(); own != "192.0.4.0/24" {
			t.Errorf("it has chosen %s", own)
		}
		for key, want := range map[string]string{
			"192.0.2.0-25":   "this node's own public address",
			"192.0.3.128-25": "server of etcd's",
			"192.0.1.0-24":   "the host of 192.0.8.0-24",
		} {
			w.Force(subnets+key, record(netip.MustParseAddr("198.51.100.7"), mac(7)))
			later(time.Second)
			a.says("level=WARN", key, want)
		}
		w.Force(subnets+"192.0.9.0-24", record(netip.MustParseAddr("192.0.0.130"), mac(10)))
		later(time.Second)
		a.says("level=WARN", "192.0.9.0-24", "its host at 192.0.0.130/32 overlaps 192.0.0.128/25")
		if got := a.sees(); len(got) != 2 {
			t.Errorf("it sees %q", got)
		}
		a.stop()
		if s, err := a.part.config.choose(a.part.known, a.part.self(), Subnets{}); err == nil {
			t.Errorf("there is room for another in %v", s)
		}
	})
}

// A MAC leads to one host: to the one that came last, which may be the other one at
// another address. Two subnets of one host are no contradiction.
func TestOneMAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		sees := func(when string, want ...string) {
			t.Helper()
			later(time.Second)
			if got := a.sees(); !slices.Equal(got, want) {
				t.Errorf("%s it sees %q, want %q", when, got, want)
			}
		}
		own := mac(2).String()
		w.Force(subnets+"10.5.0.128-25", record(ip(2), mac(2)))
		w.Force(subnets+"10.5.0.64-26", record(ip(2), mac(2)))
		sees("at first", "10.5.0.128-25 192.0.2.2 "+own, "10.5.0.64-26 192.0.2.2 "+own)
		w.Force(subnets+"10.5.0.32-27", record(ip(3), mac(2)))
		sees("then", "10.5.0.32-27 192.0.2.3 "+own)
		a.says("level=WARN", "10.5.0.128-25", own, "192.0.2.3")
		w.Drop(subnets + "10.5.0.32-27")
		sees("at last", "10.5.0.128-25 192.0.2.2 "+own, "10.5.0.64-26 192.0.2.2 "+own)
		a.stop()
	})
}

// A peer that has another address or device now goes as it was and comes as it is.
func TestPeerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a, b := w.host(1).join().run(), w.host(2).join()
		later(time.Second)
		a.told()
		w.Force(b.key(), record(ip(3), mac(2)))
		later(time.Second)
		d := a.told()
		if len(d) != 1 || d[0].Full || len(d[0].Add) != 1 || len(d[0].Remove) != 1 || d[0].Remove[0].PublicIP != ip(2) || d[0].Add[0].PublicIP != ip(3) {
			t.Errorf("told %+v", d)
		}
		w.Force(b.key(), record(ip(3), mac(2)))
		later(time.Second)
		if d := a.told(); len(d) != 0 {
			t.Errorf("nothing has changed, and it was told %+v", d)
		}
		a.stop()
	})
}

// A thousand peers cost one list and one watch, and none of their events a call; the
// config costs two calls more.
func TestCallsDoNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan"}}`)
		peer := func(i int) string {
			return subnets + Subnets{IPv4: next(ip4(10, 1, 0, 0, 24, i))}.Key()
		}
		for i := range 500 {
			w.Force(peer(i), record(ip(i+2), mac(i+2)))
		}
		a := w.host(1).join()
		a.store.Calls()
		a.run()
		a.told()
		for i := range 1000 {
			w.Force(peer(i), record(ip(i+2), mac(i+2)))
			time.Sleep(time.Millisecond)
		}
		later(time.Second)
		if got := len(a.sees()); got != 1000 {
			t.Errorf("it sees %d", got)
		}
		if got := len(a.told()); got > 12 {
			t.Errorf("a thousand nodes that came within a second were told one after the other, in %d deltas", got)
		}
		if got := a.store.Calls(); got["List"] != 1 || got["Watch"] != 2 || got["Get"] != 1 || len(got) != 3 {
			t.Errorf("it took %v", got)
		}
		later(24 * time.Hour)
		if got := a.store.Calls(); got["Grant"] != 1 || got["Put"] != 1 || len(got) != 2 {
			t.Errorf("a day took %v", got)
		}
		a.stop()
	})
}
