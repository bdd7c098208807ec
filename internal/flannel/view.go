package flannel

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// view is what a node makes of the registry: who its peers are, and who is not.
type view struct {
	own     Subnets
	peers   map[string]Peer // by key
	refused map[string]string
}

// viewOf judges all records, as the node self. Of two that overlap the one that came
// first has the subnet, where no other's host may be; of two hosts with one MAC the one that came last is it, for that
// may be the other one at another address. What would take ours, or lead packets for
// ours astray, is never a peer.
func viewOf(known map[string]*entry, self standpoint) view {
	own := self.Subnets
	v := view{own, map[string]Peer{}, map[string]string{}}
	var land, houses ground
	land.take(own, own.Key())
	hosts := map[station]netip.Addr{}
	byAge := slices.SortedFunc(maps.Values(known), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.key, b.key))
	})
	for _, e := range byAge {
		if e.key == own.Key() {
			continue
		}
		reason := e.reason
		if reason == "" {
			reason = astray(e.peer, self)
		}
		if reason == "" {
			reason = cmp.Or(land.overlap("", e.peer.Subnets), houses.overlap("", e.peer.Subnets), land.overlap("its host at ", e.peer.house()))
		}
		if reason != "" {
			v.refused[e.key] = reason
			continue
		}
		land.take(e.peer.Subnets, e.key)
		houses.take(e.peer.house(), "the host of "+e.key)
		v.peers[e.key] = e.peer
		maps.Insert(hosts, e.peer.stations)
	}
	for key, p := range v.peers {
		for st, host := range p.stations {
			if hosts[st] != host {
				delete(v.peers, key)
				v.refused[key] = fmt.Sprintf("its VtepMAC %v is at %v by now", st.mac, hosts[st])
			}
		}
	}
	return v
}

// standpoint is a node as the others see it, and the servers by which it sees them.
type standpoint struct {
	Peer
	servers []netip.Addr
}

// house is where a peer's host is, as what there is of it in each family.
func (p Peer) house() Subnets {
	return Subnets{alone(p.PublicIP), alone(p.PublicIPv6)}
}

// alone is the subnet of one address; of none it is invalid.
func alone(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// astray says why a peer's addresses are not to be routed; "" if they are.
func astray(p Peer, self standpoint) string {
	switch {
	case p.PublicIP == self.PublicIP:
		return fmt.Sprintf("it claims this node's own PublicIP %v", p.PublicIP)
	case p.PublicIPv6.IsValid() && p.PublicIPv6 == self.PublicIPv6:
		return fmt.Sprintf("it claims this node's own PublicIPv6 %v", p.PublicIPv6)
	case p.contains(self.PublicIP) || p.contains(self.PublicIPv6):
		return "this node's own public address is in its subnet"
	case slices.ContainsFunc(self.servers, p.contains):
		return fmt.Sprintf("a server of etcd's is in its subnet, one of %v", self.servers)
	case p.contains(p.PublicIP) || p.contains(p.PublicIPv6) || self.contains(p.PublicIP) || self.contains(p.PublicIPv6):
		return fmt.Sprintf("its PublicIP %v is inside of a subnet of the network", p.PublicIP)
	case p.VTEP4 != (MAC{}) && p.VTEP4 == self.VTEP4, p.VTEP6 != (MAC{}) && p.VTEP6 == self.VTEP6:
		return "it claims the VtepMAC of this node's own device"
	}
	return ""
}

// station is the end of a tunnel, among those of one family.
type station struct {
	six bool
	mac MAC
}

// stations goes through a vxlan peer's, and the host that each is at.
func (p Peer) stations(yield func(station, netip.Addr) bool) {
	if p.VTEP4 != (MAC{}) && !yield(station{false, p.VTEP4}, p.PublicIP) {
		return
	}
	if p.VTEP6 != (MAC{}) {
		yield(station{true, p.VTEP6}, p.PublicIPv6)
	}
}

func (s Subnets) contains(a netip.Addr) bool {
	return s.IPv4.Contains(a) || s.IPv6.IsValid() && s.IPv6.Contains(a)
}

// ground is subnets and their owners.
type ground struct{ by bart.Table[string] }

// overlap says who has a part of something already; "" if nobody does.
func (g *ground) overlap(what string, s Subnets) string {
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		taken, owner, ok := g.by.LookupPrefixLPM(p)
		if !ok {
			for taken, owner = range g.by.Subnets(p) {
				ok = true
				break
			}
		}
		if ok {
			return fmt.Sprintf("%s%v overlaps %v of %s, which was there before", what, p, taken, owner)
		}
	}
	return ""
}

func (g *ground) take(s Subnets, owner string) {
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		if p.IsValid() {
			g.by.Insert(p, owner)
		}
	}
}

// delta says how to get from one view to the next.
func (v view) delta(old view) Delta {
	d := Delta{Own: v.own}
	d.Add, d.Remove = beyond(v.peers, old.peers), beyond(old.peers, v.peers)
	return d
}

// beyond returns what peers has and others has not, or has otherwise, by key.
func beyond(peers, others map[string]Peer) (all []Peer) {
	for key, p := range peers {
		if o, ok := others[key]; !ok || o != p {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return a.IPv4.Addr().Compare(b.IPv4.Addr()) })
	return all
}
