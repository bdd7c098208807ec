package transport

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"github.com/catenet/catenet"
)

// Peer is another node's part of a network.
type Peer struct {
	Subnet netip.Prefix   // of IPv4
	Via    netip.AddrPort // where its host receives
}

// Table says which peer has which subnet. Its readers see it as it was before
// a change or after, and never wait. The zero value is an empty one.
type Table struct {
	now atomic.Pointer[routes]

	mu    sync.Mutex // held while it changes
	peers map[netip.Prefix]netip.AddrPort
}

// routes are a table at one time. They do not change.
type routes struct {
	by    *bart.Table[netip.AddrPort]
	hosts map[netip.Addr]struct{} // the addresses of all peers
}

// Set makes these the peers, all of them.
func (t *Table) Set(peers ...Peer) error {
	return t.change(make(map[netip.Prefix]netip.AddrPort), peers, nil)
}

// Change removes the peers of some subnets, and adds or changes others. One
// that is wrong changes nothing.
func (t *Table) Change(set []Peer, gone []netip.Prefix) error {
	return t.change(nil, set, gone)
}

// change begins with next, or with what there is.
func (t *Table) change(next map[netip.Prefix]netip.AddrPort, set []Peer, gone []netip.Prefix) error {
	for _, p := range set {
		if !p.Subnet.IsValid() || !p.Subnet.Addr().Is4() || p.Subnet != p.Subnet.Masked() || !isUnicast(p.Subnet.Addr()) {
			return catenet.Invalidf("%s is no subnet that a peer can have", p.Subnet)
		}
		if !p.Via.IsValid() || !p.Via.Addr().Is4() || !isUnicast(p.Via.Addr()) || p.Via.Port() == 0 {
			return catenet.Invalidf("the peer of %s cannot be reached at %s", p.Subnet, p.Via)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	by := new(bart.Table[netip.AddrPort])
	if next == nil {
		next = maps.Clone(t.peers)
		if next == nil {
			next = make(map[netip.Prefix]netip.AddrPort)
		}
		if now := t.now.Load(); now != nil {
			by = now.by.Clone()
		}
	}
	for _, subnet := range gone {
		delete(next, subnet)
		by.Delete(subnet)
	}
	for _, p := range set {
		next[p.Subnet] = p.Via
		by.Insert(p.Subnet, p.Via)
	}
	hosts := make(map[netip.Addr]struct{}, len(next))
	for _, via := range next {
		hosts[via.Addr()] = struct{}{}
	}
	t.peers = next
	t.now.Store(&routes{by, hosts})
	return nil
}

// find returns where what is for an address goes.
func (t *Table) find(a netip.Addr) (netip.AddrPort, bool) {
	now := t.now.Load()
	if now == nil {
		return netip.AddrPort{}, false
	}
	return now.by.Lookup(a)
}

// has tells whether an address is of a peer's subnet.
func (t *Table) has(a netip.Addr) bool {
	_, ok := t.find(a)
	return ok
}

// knows tells whether an address is the host of a peer.
func (t *Table) knows(host netip.Addr) bool {
	now := t.now.Load()
	if now == nil {
		return false
	}
	_, ok := now.hosts[host]
	return ok
}
