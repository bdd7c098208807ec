package flannel

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A peer whose key goes and is back at once never goes, one that has another address by
// then has it without a gap, and one that is gone for good goes.
func TestPeersLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vxlan)
		const key = subnets + "10.5.200.0-24"
		w.Force(key, record(ip(2), mac(2)))
		a := w.host(1).join().run()
		a.told()
		for i, at := range []int{2, 3} {
			w.Drop(key)
			later(moment * 4 / 5)
			w.Force(key, record(ip(at), mac(2)))
			later(time.Minute)
			if d := a.told(); len(d) != i || i > 0 && (len(d[0].Add) != 1 || len(d[0].Remove) != 1) {
				t.Errorf("its key was away for a moment, then it was at %v, and was told %+v", ip(at), d)
			}
		}
		w.Drop(key)
		w.Force(subnets+"10.5.201.0-24", record(ip(3), mac(2))) // the same host
		later(moment / 2)
		if got := strings.Join(a.sees(), " "); !strings.HasPrefix(got, "10.5.201.0-24") || strings.Contains(got, "10.5.200") {
			t.Errorf("a host has other subnets, and is seen with %s", got)
		}
		w.Drop(subnets + "10.5.201.0-24")
		later(2 * moment)
		if got := a.sees(); len(got) > 0 {
			t.Errorf("who has gone is seen: %q", got)
		}
		a.stop()
	})
}

// What a store has forgotten stays for as long as nodes may take to notice; but not for
// one in whose place somebody has come, and not for ever.
func TestForgottenPeersStay(t *testing.T) {
	for _, knowsUs := range []bool{false, true} { // whether the snapshot has our key
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, vxlan)
			a := w.host(1)
			snap := w.Snapshot()
			if a.join(); knowsUs {
				snap = w.Snapshot()
			}
			for i := 2; i < 5; i++ {
				w.Force(subnets+Subnets{IPv4: ip4(10, 5, 200, 0, 24, i)}.Key(), record(ip(i), mac(i)))
			}
			a.run()
			w.Restore(snap)
			if !knowsUs { // the revision tells nothing any more
				for range 100 {
					w.Force("elsewhere", "x")
				}
			}
			w.Force(subnets+"10.5.203.0-25", record(ip(9), mac(9)))
			later(late)
			if got := strings.Join(a.sees(), "\n"); !strings.Contains(got, ip(2).String()) || strings.Contains(got, ip(3).String()) || !strings.Contains(got, ip(4).String()) || !strings.Contains(got, ip(9).String()) {
				t.Errorf("the store was restored (with our key: %t), and it sees\n%s", knowsUs, got)
			}
			w.Drop(subnets + "10.5.203.0-25") // which is no forgetting
			later(2 * moment)
			if got := strings.Join(a.sees(), "\n"); strings.Contains(got, ip(9).String()) {
				t.Errorf("who has gone since is seen:\n%s", got)
			}
			w.Force(subnets+"10.5.203.0-25", record(ip(9), mac(9)))
			later(2 * moment)
			a.told()
			later(time.Minute)
			if got := a.sees(); len(got) != 1 || len(a.told()) != 1 {
				t.Errorf("a minute later it sees %q", got)
			}
			a.ownsIt()
			a.stop()
		})
	}
}
