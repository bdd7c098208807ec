package flannel

import "time"

// A key that is gone may be back at once: its node notices that somebody has deleted it,
// or writes it anew with another address. So its peer stays for moment, unless another
// one comes in its place. Where the store has forgotten what it knew, as it was restored
// from a snapshot, nodes put their keys back when they ask it next: after late and a
// fifth of it, if they have waited for it for long.
const moment, amnesty = 500 * time.Millisecond, late * 3 / 2

// missed notes which peers' keys are gone from a registry that was read anew, at a
// revision: they were deleted, or forgotten, if it knows less than it did.
func (p *Part) missed(revision int64) {
	stay := moment
	if revision < p.revision || p.claim.revision > 0 && p.fate() == isMissing {
		stay = amnesty
	}
	p.revision = revision
	for key := range p.view.peers {
		if _, there := p.known[key]; !there {
			p.miss(key, stay)
		}
	}
}

// miss notes that a key is gone, and for how long its peer is to stay.
func (p *Part) miss(key string, stay time.Duration) {
	if _, ok := p.gone[key]; !ok {
		p.gone[key] = time.Now().Add(stay)
	}
}

// linger has the peers that are to stay be in a view.
func (p *Part) linger(now view) {
	for key, end := range p.gone {
		peer, was := p.view.peers[key]
		if _, there := p.known[key]; there || !was || now.displaces(peer) || !time.Now().Before(end) {
			delete(p.gone, key)
			continue
		}
		now.peers[key] = peer
	}
}

// overdue says when the next of the peers that linger is to go; never if there is none.
func (p *Part) overdue() <-chan time.Time {
	var next time.Time
	for _, end := range p.gone {
		if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(time.Until(next))
}

// displaces reports whether somebody has what was another peer's.
func (v view) displaces(old Peer) bool {
	if v.own.overlap(old.Subnets) {
		return true
	}
	for _, p := range v.peers {
		if p.overlap(old.Subnets) || p.VTEP4 != (MAC{}) && p.VTEP4 == old.VTEP4 || p.VTEP6 != (MAC{}) && p.VTEP6 == old.VTEP6 {
			return true
		}
	}
	return false
}
