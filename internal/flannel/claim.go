package flannel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// ttl is how long a node's key outlives its last renewal.
const ttl = 24 * time.Hour

// claim is what a node knows about its own key. Whose a key is its lease tells,
// which no two nodes have in common; so a write whose answer was lost is known again.
type claim struct {
	revision int64     // of its last write that was answered; 0: none by this process
	renew    time.Time // when to write again; zero: never
	rival    string    // who has the key now under our PublicIP; "" for nobody
}

// fate is what has become of the own key.
type fate int

const (
	isOurs    fate = iota
	isMissing      // or nobody's, or older than our last write, since the store was restored: put it again
	isTaken        // another node's: there must be other subnets
	isClaimed      // another hand has written it in the name of our PublicIP
)

// at returns what the registry has of subnets, and whether that is anything.
func (p *Part) at(s Subnets) (e entry, there bool) {
	if known := p.known[s.Key()]; known != nil {
		return *known, true
	}
	return entry{}, false
}

// fate judges the own key.
func (p *Part) fate() fate {
	own := p.own()
	e, there := p.at(own)
	ip := e.peer.PublicIP
	same := string(e.Value) == p.record
	switch {
	case there && ip.IsValid() && ip != p.node.PublicIP, p.overtaken(own, e, there):
		return isTaken
	case !there, !ip.IsValid():
		return isMissing
	case same && (e.Lease == p.node.Lease || e.Lease == 0 && p.claim.revision > 0):
		return isOurs
	case p.claim.revision == 0, e.Revision <= p.claim.revision:
		return isMissing
	}
	return isClaimed
}

// overtaken reports whether a key that was there before ours has a part of our
// subnets: of both families nodes that come at once can choose the same one of one.
func (p *Part) overtaken(own Subnets, mine entry, there bool) bool {
	for _, e := range p.known {
		if e.key == own.Key() || e.reason != "" || astray(e.peer, p.self()) != "" || there && mine.Created < e.Created {
			continue
		}
		if e.peer.overlap(own) {
			return true
		}
	}
	return false
}

// keep has the own key be as it should: what is known of the registry must be new.
// A conflict says that it is not.
func (p *Part) keep(ctx context.Context) error {
	switch p.fate() {
	case isOurs:
		e, _ := p.at(p.own())
		p.claim.revision = max(p.claim.revision, e.Revision)
		if e.Lease == 0 { // somebody has made it a reservation
			p.claim.renew = time.Time{}
		} else if !time.Now().Before(p.claim.renew) {
			return p.put(ctx, p.own())
		}
		return p.settle("")
	case isTaken:
		return p.move(ctx)
	case isClaimed:
		e, _ := p.at(p.own())
		return p.settle(rivalry(p.record, e))
	default:
		return p.put(ctx, p.own())
	}
}

// settle notes who has the key: this node, or a rival, to whom it is left. Two that
// write over each other would be in nobody's interest.
func (p *Part) settle(rival string) error {
	p.claim.rival = rival
	if rival != "" {
		p.claim.renew = time.Time{}
	}
	p.set(func(s *Status) {
		s.Owned, s.Expires = rival == "", time.Time{}
		if !p.claim.renew.IsZero() {
			s.Expires = p.claim.renew.Add(p.node.RenewMargin)
		}
	})
	return nil
}

// rivalry names both who claim one key.
func rivalry(record string, e entry) string {
	if string(e.Value) == record {
		return fmt.Sprintf("another node claims %v too: it has written the record of %s, %s, as this node does", e.peer.PublicIP, e.key, record)
	}
	return fmt.Sprintf("another node claims %v too: it has written the record of %s, %s, where this node's is %s", e.peer.PublicIP, e.key, e.Value, record)
}

// put writes the own key, over what is known to be there, under a lease that begins
// anew; a reservation stays one.
func (p *Part) put(ctx context.Context, s Subnets) error {
	e, there := p.at(s)
	var lease etcd.LeaseID
	granted := time.Now()
	if reserved := there && e.Lease == 0 && e.peer.PublicIP == p.node.PublicIP; !reserved {
		lease = p.node.Lease
		if err := p.registry.Store.Grant(ctx, lease, ttl); err != nil {
			return err
		}
	}
	revision, err := p.registry.Store.Put(ctx, p.key(s), p.record, e.Revision, lease)
	if err != nil {
		return err // the key may be written all the same, and then its lease says so
	}
	p.claim = claim{revision: revision}
	if lease != 0 {
		p.claim.renew = granted.Add(ttl - p.node.RenewMargin)
	}
	created := e.Created
	if !there {
		created = revision
	}
	p.learn(etcd.Pair{Key: p.key(s), Value: []byte(p.record), Created: created, Revision: revision, Lease: lease})
	p.set(func(st *Status) { st.Subnets = s })
	p.node.Log.Debug("wrote the node's key", "subnets", s, "revision", revision)
	return p.settle("")
}

// take finds subnets for a node that has none, and writes their key.
func (p *Part) take(ctx context.Context) error {
	if _, err := p.list(ctx); err != nil {
		return err
	}
	for _, e := range p.under(p.node.PublicIP, p.node.Previous) {
		s, err := ParseKey(e.key)
		if err == nil && p.config.fits(s) {
			return p.put(ctx, s)
		}
		p.node.Log.Info("the node's earlier subnets do not fit the network's config and are given back", "key", e.key, "network", p.config.Network)
		if err := p.registry.Store.Delete(ctx, e.Key, e.Revision); err != nil {
			return err
		}
		delete(p.known, e.key)
	}
	s, err := p.config.choose(p.known, p.self(), p.node.Previous)
	if err != nil {
		return err
	}
	return p.put(ctx, s)
}

// move takes other subnets, as somebody else has this node's.
func (p *Part) move(ctx context.Context) error {
	lost := p.own()
	if e, ok := p.at(lost); ok && e.peer.PublicIP == p.node.PublicIP {
		if err := p.registry.Store.Delete(ctx, e.Key, e.Revision); err != nil {
			return err
		}
		delete(p.known, e.key)
	}
	s, err := p.config.choose(p.known, p.self(), Subnets{})
	if err == nil {
		err = p.put(ctx, s)
	}
	if err != nil {
		p.set(func(st *Status) { st.Owned = false })
		return fmt.Errorf("%v were given to another node, and no other subnets are to be had yet: %w", lost, err)
	}
	p.node.Log.Error("the node's subnets were given to another node while it was away: it has others now, and containers with addresses of the old ones reach nobody",
		"old", lost, "new", s)
	return nil
}

// trouble returns what Status is to say of an error.
func trouble(rival string, err error) error {
	if err == nil && rival != "" {
		return catenet.Conflictf("%s", rival).WithHint("give one of the two another public-ip, or end it")
	}
	return err
}

// under returns the entries with a PublicIP, that of the previous subnets first.
func (p *Part) under(ip netip.Addr, previous Subnets) []*entry {
	var found []*entry
	for _, e := range p.known {
		if e.peer.PublicIP == ip {
			found = append(found, e)
		}
	}
	first := previous.Key()
	slices.SortFunc(found, func(a, b *entry) int {
		switch first {
		case a.key:
			return -1
		case b.key:
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	return found
}
