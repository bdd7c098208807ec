package flannel

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catenet/catenet"
)

func TestJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		b := w.host(2).join().run()
		if got, want := string(a.pair().Value), record(ip(1), mac(1)); got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
		if got := a.sees(); len(got) != 1 || !strings.HasSuffix(got[0], "192.0.2.2 0e:00:00:00:00:02") {
			t.Errorf("a sees %q", got)
		}
		if d := a.told(); len(d) != 2 || !d[0].Full || d[1].Full {
			t.Errorf("a was told %+v", d)
		}
		b.stop()
		if err := Leave(t.Context(), b.registry(), b.spec.Lease); err != nil {
			t.Error(err)
		}
		later(time.Second)
		if got := a.sees(); len(got) != 0 || len(w.Pairs(subnets)) != 1 || w.Leases() != 1 {
			t.Errorf("after b has left a sees %q, and there are %v", got, w.Pairs(subnets))
		}
		if err := Leave(t.Context(), b.registry(), b.spec.Lease); err != nil {
			t.Error("leaving once more:", err)
		}
		a.ownsIt()
		a.stop()
	})
}

// A node that never heard that it has joined gives back what it has.
func TestLeaveUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1)
		a.store.LoseAnswers(1)
		if _, err := Join(t.Context(), a.registry(), a.spec); err == nil || len(w.Pairs(subnets)) != 1 {
			t.Fatalf("an answer that is lost: %v, the registry has %v", err, w.Pairs(subnets))
		}
		if err := Leave(t.Context(), a.registry(), a.spec.Lease); err != nil || len(w.Pairs(subnets))+w.Leases() != 0 {
			t.Errorf("after it has left (%v) there are %v and %d leases", err, w.Pairs(subnets), w.Leases())
		}
	})
}

func TestJoinIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		for what, c := range map[string]struct {
			spoil func(*node)
			kind  catenet.Kind
			says  string
		}{
			"no config":       {func(*node) { w.Drop(prefix + "/config") }, catenet.KindNotFound, "/coreos.com/network/config"},
			"wrong config":    {func(*node) { w.Force(prefix+"/config", `{"Network": 5}`) }, catenet.KindInvalid, "Network"},
			"no address":      {func(n *node) { n.spec.PublicIP = netip.Addr{} }, catenet.KindInvalid, "reached"},
			"a margin":        {func(n *node) { n.spec.RenewMargin = 24 * time.Hour }, catenet.KindInvalid, "renewed"},
			"no IPv6 address": {func(*node) { w.Force(prefix+"/config", dual) }, catenet.KindInvalid, "IPv6"},
			"no store":        {func(n *node) { n.store.Cut(true) }, catenet.KindUnavailable, ""},
			"a backend's no": {func(n *node) {
				n.spec.Backend = func(Config) (BackendData, error) { return BackendData{}, catenet.Unsupportedf("no device") }
			}, catenet.KindUnsupported, "no device"},
		} {
			n := w.host(1)
			c.spoil(n)
			_, err := Join(t.Context(), n.registry(), n.spec)
			if catenet.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %v and %q", what, err, c.kind, c.says)
			}
			w.Force(prefix+"/config", vxlan)
		}
		if got := w.Pairs(subnets); len(got) != 0 {
			t.Errorf("refused nodes have written %v", got)
		}
	})
}

// What a node had, it gets again: by its PublicIP, else by what it remembers.
func TestSameSubnetsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		first := w.host(1).join().part.Status().Subnets
		for range 20 { // chance would not choose it twenty times
			again := w.host(1).join()
			if got := again.part.Status().Subnets; got != first {
				t.Fatalf("%v at first, then %v", first, got)
			}
		}
		w.Drop(subnets + first.Key())
		n := w.host(1)
		n.spec.Previous = first
		if got := n.join().part.Status().Subnets; got != first {
			t.Errorf("%v remembered, and then %v", first, got)
		}
		other := w.host(2)
		other.spec.Previous = first
		if got := other.join().part.Status().Subnets; got == first {
			t.Errorf("%v are another's, and given to a second node", first)
		}
		later := Subnets{IPv4: netip.MustParsePrefix("10.5.254.0/24")}
		w.Force(subnets+later.Key(), record(ip(1), mac(1)))
		n = w.host(1)
		n.spec.Previous = later
		if got := n.join().part.Status().Subnets; got != later {
			t.Errorf("of two that are its own it remembers %v, and has %v", later, got)
		}
		w.Drop(subnets + later.Key())
		w.Force(prefix+"/config", strings.Replace(vxlan, "10.5", "10.6", 1))
		if got := w.host(1).join().part.Status().Subnets; got.IPv4.Addr().As4()[1] != 6 {
			t.Errorf("in another network it has %v", got)
		}
		for _, p := range w.Pairs(subnets) {
			if p.Key == subnets+first.Key() {
				t.Errorf("the subnets of the earlier network are kept: %s", p.Key)
			}
		}
	})
}

// Nodes that come at once, and take from each other what they were about to write,
// all get subnets of their own, also where there is just enough for all.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `{"Network": "10.5.0.0/26", "SubnetLen": 30, "Backend": {"Type": "host-gw"}}`)
		done := make(chan string)
		for i := range 15 {
			go func() {
				n := w.host(i + 1)
				n.store.Delay(10 * time.Millisecond) // so that all list before one writes
				part, err := Join(t.Context(), n.registry(), n.spec)
				if err != nil {
					t.Error(err)
					done <- ""
					return
				}
				done <- part.Status().Subnets.Key()
			}()
		}
		seen := map[string]bool{}
		for range 15 {
			seen[<-done] = true
		}
		if len(seen) != 15 || len(w.Pairs(subnets)) != 15 || w.Leases() != 15 {
			t.Errorf("15 nodes have %d subnets and %d leases: %v", len(seen), w.Leases(), seen)
		}
		n := w.host(16)
		if _, err := Join(t.Context(), n.registry(), n.spec); catenet.KindOf(err) != catenet.KindExhausted {
			t.Errorf("a node too many: %v", err)
		}
	})
}

// A day and more: the lease is renewed an hour before its end, once, and nobody
// notices.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a, b := w.host(1).join().run(), w.host(2).join().run()
		a.told()
		before := a.pair()
		b.store.Calls()
		for day := range 7 {
			later(23*time.Hour - 2*time.Minute)
			if got := a.pair(); got.Revision != before.Revision {
				t.Errorf("day %d: renewed before its time", day)
			}
			later(2 * time.Minute)
			after := a.pair()
			if after.Revision == before.Revision || after.Lease != before.Lease || after.Created != before.Created {
				t.Errorf("day %d: %+v, then %+v", day, before, after)
			}
			before = after
		}
		if got := b.store.Calls(); got["Grant"] != 7 || got["Put"] != 7 || got["List"]+got["Watch"]+got["Get"] != 0 {
			t.Errorf("a week of renewals took b the calls %v", got)
		}
		if got := a.told(); len(got) != 0 {
			t.Errorf("renewals of b were told to a: %+v", got)
		}
		if left := time.Until(a.part.Status().Expires); left < 22*time.Hour || left > ttl {
			t.Errorf("it ends in %v", left)
		}
		a.ownsIt()
		b.ownsIt()
		a.stop()
		b.stop()
	})
}

// A reservation, a key without a lease, stays one, and so does one that somebody
// makes of a lease while the node runs.
func TestReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		w.Force(subnets+"10.5.7.0-24", `{"PublicIP":"192.0.2.1"}`)
		a, b := w.host(1).join().run(), w.host(2).join().run()
		if a.key() != subnets+"10.5.7.0-24" || string(a.pair().Value) != record(ip(1), mac(1)) {
			t.Errorf("reserved 10.5.7.0-24, has %+v", a.pair())
		}
		w.Force(b.key(), string(b.pair().Value))
		later(72 * time.Hour)
		for _, n := range []*node{a, b} {
			n.ownsIt()
			if n.pair().Lease != 0 || !n.part.Status().Expires.IsZero() {
				t.Errorf("the reservation of %v has a lease: %+v", n.spec.PublicIP, n.pair())
			}
			n.stop()
			if err := Leave(t.Context(), n.registry(), n.spec.Lease); err != nil || n.pair().Value == nil {
				t.Errorf("leaving gave a reservation away (%v)", err)
			}
		}
	})
}

// An hour without the store: nothing is told and nothing lost; what has happened
// meanwhile is known soon after.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a, b, gone := w.host(1).join().run(), w.host(2).join().run(), w.host(3).join()
		later(time.Second)
		a.told()
		a.store.Cut(true)
		w.Drop(gone.key())
		w.host(4).join()
		later(time.Hour)
		if s := a.part.Status(); catenet.KindOf(s.Trouble) != catenet.KindUnavailable || !s.Owned || len(a.told()) != 0 {
			t.Errorf("without the store: %+v", s)
		}
		a.says("in trouble", "does not answer")
		a.store.Calls()
		a.store.Cut(false)
		later(2 * late)
		if got := a.sees(); len(got) != 2 || !strings.Contains(strings.Join(got, " "), "192.0.2.4") {
			t.Errorf("an hour later it sees %q", got)
		}
		a.says("in order again")
		a.ownsIt()
		if got := a.store.Calls(); got["Put"] != 0 {
			t.Errorf("a lease that was not due was renewed: %v", got)
		}
		w.Stop()
		later(time.Hour)
		w.Start()
		later(2 * late)
		a.ownsIt()
		b.ownsIt()
		a.stop()
		b.stop()
	})
}

// Away until its lease has ended, a node gets the same subnets again; if somebody
// else has them, others, and says so.
func TestExpiredWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a, b := w.host(1).join().run(), w.host(2).join().run()
		first, lost := a.key(), b.part.Status().Subnets
		a.store.Cut(true)
		b.store.Cut(true)
		later(25 * time.Hour)
		if got := w.Pairs(subnets); len(got) != 0 {
			t.Fatalf("a day later there are %v", got)
		}
		heir := w.host(3)
		heir.spec.Previous = lost
		heir.join().run()
		a.store.Cut(false)
		b.store.Cut(false)
		later(2 * late)
		a.ownsIt()
		b.ownsIt()
		heir.ownsIt()
		if a.key() != first {
			t.Errorf("a had %s, and has %s", first, a.key())
		}
		if now := b.part.Status().Subnets; now == lost {
			t.Errorf("b and its heir both have %v", now)
		}
		b.says("level=ERROR", "given to another node", lost.String())
		d := b.told()
		if last := d[len(d)-1]; last.Own == lost || len(b.sees()) != 2 {
			t.Errorf("b was told at last %+v, and sees %q", last, b.sees())
		}
		for _, n := range []*node{a, b, heir} {
			n.stop()
		}
	})
}

// The key is deleted by hand: it is there again at once, with its own lease.
func TestKeyDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		key := a.key()
		w.Drop(key)
		later(time.Second)
		if a.key() != key || a.pair().Lease == 0 {
			t.Errorf("after %s was deleted: %+v", key, a.pair())
		}
		a.ownsIt()
		w.Force(key, "garbage")
		later(time.Second)
		a.ownsIt()
		w.Force(key, record(ip(9), mac(9)))
		later(time.Second)
		if a.key() == key || len(a.sees()) != 1 {
			t.Errorf("another node has %s, and a too; it sees %q", key, a.sees())
		}
		a.ownsIt()
		a.told()
		w.Force(a.key(), `{"PublicIP":"192.0.2.9"}`) // another's, and no peer
		later(time.Second)
		if d := a.told(); len(d) != 1 || d[0].Own != a.part.Status().Subnets {
			t.Errorf("it has %v now, and was told %+v", a.part.Status().Subnets, d)
		}
		a.stop()
	})
}

// The store is restored from what it was: before a node joined, before it moved,
// after it had left; and its revision has passed the nodes' own when they return.
func TestRestoredFromSnapshot(t *testing.T) {
	for _, passed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, vxlan)
			a := w.host(1).join().run()
			leaver := w.host(2).join()
			snap := w.Snapshot()
			if err := Leave(t.Context(), leaver.registry(), leaver.spec.Lease); err != nil {
				t.Fatal(err)
			}
			b := w.host(3)
			b.spec.Previous.IPv4 = netip.MustParsePrefix("10.5.200.0/24") // not the leaver's, which may be back
			b.join().run()
			later(24 * time.Hour) // a has renewed
			keys := []string{a.key(), b.key()}
			if passed {
				a.store.Cut(true)
				b.store.Cut(true)
			}
			w.Restore(snap)
			for range 100 {
				w.Force("elsewhere", "x")
			}
			a.store.Cut(false)
			b.store.Cut(false)
			later(2 * late)
			a.ownsIt()
			b.ownsIt()
			if !slices.Equal([]string{a.key(), b.key()}, keys) {
				t.Errorf("they had %q, and have %q and %q", keys, a.key(), b.key())
			}
			if len(a.sees()) != 2 || len(b.sees()) != 2 { // the leaver's key is back, for a day
				t.Errorf("a sees %q, b sees %q", a.sees(), b.sees())
			}
			later(25 * time.Hour)
			if len(a.sees()) != 1 || len(b.sees()) != 1 {
				t.Errorf("a day later a sees %q, b sees %q", a.sees(), b.sees())
			}
			a.stop()
			b.stop()
		})
	}
}

// Changes that a watch has missed are found by a list, whether the store has
// forgotten them or the connection was made anew.
func TestMissedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		for i := range 3 {
			a.store.Cut(true)
			w.host(i + 2).join()
			w.Compact()
			a.store.Cut(false)
			later(2 * late)
			if len(a.sees()) != i+1 {
				t.Errorf("it sees %q of %d", a.sees(), i+1)
			}
		}
		a.told()
		a.store.Break()
		later(2 * late)
		if d := a.told(); len(d) != 1 || !d[0].Full || len(d[0].Add) != 3 {
			t.Errorf("after another connection it was told %+v", d)
		}
		a.stop()
	})
}

// A node that was told something at length, and has missed what the store has
// forgotten since, reads it anew: that is no trouble.
func TestFellBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join()
		ctx, cancel := context.WithCancel(t.Context())
		go a.part.Run(ctx, func(d Delta) {
			a.hear(d)
			time.Sleep(10 * time.Second)
		})
		later(time.Second)
		for i := range 4 {
			w.host(i + 2).join()
			time.Sleep(time.Second)
		}
		w.Compact()
		w.host(7).join()
		later(time.Minute)
		if d := a.told(); len(a.sees()) != 5 || !d[len(d)-1].Full {
			t.Errorf("it sees %q, and was told %+v", a.sees(), d)
		}
		if log := a.log.String(); !strings.Contains(log, "read anew") || strings.Contains(log, "trouble") {
			t.Errorf("it says %s", log)
		}
		cancel()
		later(time.Minute)
	})
}

// Whatever becomes of the answers to a node's writes, it knows its own key again.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		key := a.key()
		for range 5 {
			a.store.LoseAnswers(3)
			later(23 * time.Hour)
			a.store.LoseAnswers(0)
			later(10 * time.Minute)
			a.ownsIt()
			if a.key() != key {
				t.Fatalf("it had %s, and has %s", key, a.key())
			}
		}
		a.store.LoseAnswers(1)
		w.Drop(key)
		later(late)
		a.ownsIt()
		a.stop()
	})
}

// A daemon that starts without the store goes on with what it remembers.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a, b := w.host(1).join(), w.host(2).join().run()
		state := a.part.State()
		again := w.host(1)
		again.spec.Lease = a.spec.Lease
		again.store.Cut(true)
		part, err := Resume(again.registry(), again.spec, state)
		if err != nil {
			t.Fatal(err)
		}
		again.part = part
		again.run()
		if s := part.Status(); s.Subnets != a.part.Status().Subnets || part.Config() != a.part.Config() {
			t.Errorf("resumed %+v of %+v", s, a.part.Status())
		}
		later(time.Hour)
		again.store.Cut(false)
		later(2 * late)
		again.ownsIt()
		if len(again.sees()) != 1 || len(b.sees()) != 1 {
			t.Errorf("it sees %q, and the other %q", again.sees(), b.sees())
		}
		state.Subnets.IPv4 = netip.MustParsePrefix("10.9.1.0/24")
		if _, err := Resume(again.registry(), again.spec, state); !catenet.IsInvalid(err) {
			t.Errorf("subnets of another network: %v", err)
		}
		again.stop()
		b.stop()
	})
}

func TestWriteConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		w.Drop(prefix + "/config")
		r := Registry{Store: w.Client()}
		if err := WriteConfig(t.Context(), r, `{"Network": "10.5.0.0"}`); !catenet.IsInvalid(err) {
			t.Errorf("a config that is wrong: %v", err)
		}
		for _, text := range []string{vxlan, vxlan, strings.ReplaceAll(vxlan, ":", " :  ")} {
			if err := WriteConfig(t.Context(), r, text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		if err := WriteConfig(t.Context(), r, strings.Replace(vxlan, "10.5", "10.6", 1)); !catenet.IsConflict(err) {
			t.Errorf("another config: %v", err)
		}
		w.host(1).join()
	})
}

// A config that is changed, gone or wrong is told of while the node goes on, also by who
// was away meanwhile; one that says the same in other words, or again, is none.
func TestConfigIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		a := w.host(1).join().run()
		for _, c := range []struct{ text, says string }{
			{strings.Replace(vxlan, "vxlan", "host-gw", 1), "has been changed"},
			{` {"network": "10.5.0.0/16", "SubnetLen": 24, "Backend": {"VNI": 1, "Type": "VXLAN"}}`, ""},
			{strings.Replace(vxlan, "10.5", "10.6", 1), "10.6.0.0/16"},
			{`{"Network": 7}`, "Network: a number"},
			{"", "is gone"},
			{vxlan, ""},
		} {
			for _, away := range []bool{false, true} {
				w.Force(prefix+"/config", vxlan)
				w.Force(prefix+"/config2", "no config")
				later(time.Second)
				a.ownsIt()
				a.store.Cut(away)
				if w.Force(prefix+"/config", c.text); c.text == "" {
					w.Drop(prefix + "/config")
				}
				if away {
					w.Compact()
					later(time.Minute)
					a.store.Cut(false)
				}
				later(time.Minute)
				if s := a.part.Status(); !s.Owned || (s.Trouble != nil) != (c.says != "") || c.says != "" && !strings.Contains(s.Trouble.Error(), c.says) {
					t.Errorf("the config is %q now (away: %t): %+v", c.text, away, s)
				}
				if s := a.part.Status(); s.Trouble != nil && catenet.HintOf(s.Trouble) == "" {
					t.Errorf("no hint: %v", s.Trouble)
				}
			}
		}
		a.stop()
	})
}
