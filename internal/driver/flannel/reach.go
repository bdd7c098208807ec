package flannel

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/transport"
)

// byRoute is how a peer is reached that no tunnel leads to.
const byRoute = "route"

// way is how one peer is reached.
type way struct {
	flannel.Peer
	reach []kernel.Reach // of each family; none of the udp backend, whose table has it
	far   []netip.Addr   // hosts that it would be reached by, but they are on no wire of ours
}

// ways says how peers are reached, by their keys.
func (p held) ways(ctx context.Context, h kernel.Host, peers []flannel.Peer) (map[string]way, error) {
	var direct map[netip.Addr]string
	if p.plain() && len(peers) > 0 {
		var hosts []netip.Addr
		for _, peer := range peers {
			hosts = append(hosts, peer.PublicIP)
			if p.dual() && peer.PublicIPv6.IsValid() {
				hosts = append(hosts, peer.PublicIPv6)
			}
		}
		var err error
		if direct, err = h.Direct(ctx, hosts...); err != nil {
			return nil, fmt.Errorf("find routes to other hosts: %w", err)
		}
	}
	ways := make(map[string]way, len(peers))
	for _, peer := range peers {
		w := way{Peer: peer}
		if p.backend() != flannel.BackendUDP {
			p.half(&w, direct, peer.IPv4, peer.PublicIP, peer.VTEP4)
			if p.dual() && peer.IPv6.IsValid() {
				p.half(&w, direct, peer.IPv6, peer.PublicIPv6, peer.VTEP6)
			}
		}
		ways[peer.Key()] = w
	}
	return ways, nil
}

// half adds the way to one family of a peer.
func (p held) half(w *way, direct map[netip.Addr]string, subnet netip.Prefix, host netip.Addr, mac flannel.MAC) {
	link, ok := direct[host]
	switch {
	case ok:
		w.reach = append(w.reach, kernel.Reach{Link: link, Subnet: subnet, Via: host})
	case p.backend() == flannel.BackendVXLAN:
		w.reach = append(w.reach, kernel.Reach{Link: p.vxlan(subnet.Addr().Is4()), Subnet: subnet, Via: subnet.Addr(), OnLink: true, MAC: mac[:], Remote: host})
	default:
		w.far = append(w.far, host)
	}
}

// how says how a peer is reached, for people.
func (p held) how(w way) string {
	switch {
	case p.backend() == flannel.BackendUDP:
		return p.backend() + ", " + transport.Datapath
	case len(w.reach) > 0 && w.reach[0].MAC != nil:
		return p.backend()
	}
	return byRoute
}

// peersOf is what people are told.
func (p held) peersOf(ways map[string]way) []catenet.Peer {
	peers := make([]catenet.Peer, 0, len(ways))
	for _, w := range ways {
		peer := catenet.Peer{Host: w.PublicIP, Subnets: []netip.Prefix{w.IPv4}, By: p.how(w)}
		if p.dual() && w.IPv6.IsValid() {
			peer.Subnets = append(peer.Subnets, w.IPv6)
		}
		if len(w.far) > 0 {
			peer.Trouble = fmt.Sprintf("%v is on no wire of this host", w.far[0])
		}
		peers = append(peers, peer)
	}
	slices.SortFunc(peers, func(a, b catenet.Peer) int {
		if c := a.Host.Compare(b.Host); c != 0 {
			return c
		}
		return a.Subnets[0].Addr().Compare(b.Subnets[0].Addr())
	})
	return peers
}

// neighbours are the hosts that are reached without a tunnel: what they send comes
// with their own addresses.
func neighbours(ways map[string]way) []netip.Addr {
	hosts := make([]netip.Addr, 0, len(ways))
	for _, w := range ways {
		for _, r := range w.reach {
			if r.MAC == nil {
				hosts = append(hosts, r.Via)
			}
		}
	}
	return sorted(hosts)
}

// remote names the peers that are not reached; nil if all are.
func remote(ways map[string]way) error {
	var far []string
	for _, key := range slices.Sorted(maps.Keys(ways)) {
		for _, host := range ways[key].far {
			far = append(far, fmt.Sprintf("%v (%s)", host, ways[key].Subnets))
		}
	}
	if len(far) == 0 {
		return nil
	}
	more := ""
	if len(far) > 5 {
		far, more = far[:5], fmt.Sprintf(" and %d more", len(far)-5)
	}
	return catenet.NotFoundf("hosts that are on no wire of this one are not reached, as routes to them lead nowhere: %s%s", strings.Join(far, ", "), more).
		WithHint("use the vxlan backend where a router is in between")
}
