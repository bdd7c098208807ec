package fake

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Reach implements kernel.Host.
func (k *Kernel) Reach(ctx context.Context, add, remove []kernel.Reach) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range add {
		_, ours := k.links[r.Link]
		switch {
		case !ours && r.Link != k.uplink:
			errs = append(errs, catenet.NotFoundf("there is no link %s to reach %s by", r.Link, r.Subnet))
		case slices.Contains(k.routes, r.Subnet):
			errs = append(errs, catenet.Conflictf("this host has a route to %s already, and it is not ours", r.Subnet))
		case kernel.Looks(ctx) && !sameReach(k.reach[r.Subnet], r):
			errs = append(errs, errLooking)
		case !sameReach(k.reach[r.Subnet], r):
			k.reach[r.Subnet] = r
			k.wrote(ctx)
		}
	}
	for _, r := range remove {
		led := slices.ContainsFunc(add, func(a kernel.Reach) bool { return a.Subnet == r.Subnet })
		if there, ok := k.reach[r.Subnet]; ok && !led && there.Link == r.Link {
			delete(k.reach, r.Subnet)
			k.wrote(ctx)
		}
	}
	return errors.Join(errs...)
}

func sameReach(a, b kernel.Reach) bool {
	return a.Link == b.Link && a.Subnet == b.Subnet && a.Via == b.Via && a.OnLink == b.OnLink &&
		a.Remote == b.Remote && a.MAC.String() == b.MAC.String()
}

// Reached implements kernel.Host.
func (k *Kernel) Reached(ctx context.Context, links ...string) ([]kernel.Reach, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var found []kernel.Reach
	for _, r := range k.reach {
		if !slices.Contains(links, r.Link) {
			r.MAC, r.Remote = nil, netip.Addr{}
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b kernel.Reach) int { return strings.Compare(a.Subnet.String(), b.Subnet.String()) })
	return found, nil
}

// Underlay implements kernel.Host: there is the uplink, 192.0.2.1 and 2001:db8::1
// unless Move has been called, and what was made.
func (k *Kernel) Underlay(ctx context.Context, which string) (kernel.Underlay, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return kernel.Underlay{}, err
	}
	if l, made := k.links[which]; made {
		return kernel.Underlay{Link: which, MTU: l.MTU}, nil
	}
	u := kernel.Underlay{Link: k.uplink, MTU: k.mtu, IPv4: []netip.Addr{k.address}, IPv6: []netip.Addr{uplink6}}
	if k.four {
		u.IPv6 = nil
	}
	if which != "" && which != k.uplink && which != k.address.String() && which != uplink6.String() {
		return u, catenet.NotFoundf("this host has no link %s", which).WithHint("see those that it has with: ip link")
	}
	return u, nil
}

// The addresses of the uplink.
var (
	uplink4 = netip.MustParseAddr("192.0.2.1")
	uplink6 = netip.MustParseAddr("2001:db8::1")
)

// Direct implements kernel.Host: 192.0.2.0/24 and 2001:db8::/64 are on the wire.
func (k *Kernel) Direct(ctx context.Context, hosts ...netip.Addr) (map[netip.Addr]string, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	direct := make(map[netip.Addr]string)
	for _, a := range hosts {
		if netip.PrefixFrom(uplink4, 24).Contains(a) || netip.PrefixFrom(uplink6, 64).Contains(a) {
			direct[a] = k.uplink
		}
	}
	return direct, err
}

// Runs implements kernel.Host: nothing does, unless Start was called.
func (k *Kernel) Runs(ctx context.Context, program string) (int, error) {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err == nil && program == k.program {
		return 7, nil
	}
	return 0, err
}

// Start has a program of somebody else's run.
func (k *Kernel) Start(program string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.program = program
}

// Move gives the uplink another IPv4 address.
func (k *Kernel) Move(to netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.address = to
}

// NoIPv6 takes the uplink's IPv6 addresses.
func (k *Kernel) NoIPv6() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.four = true
}

// Lose takes the way to a subnet, as somebody else would.
func (k *Kernel) Lose(subnet netip.Prefix) {
	k.mu.Lock()
	delete(k.reach, subnet)
	k.mu.Unlock()
	k.tell(kernel.Loss{Reach: true})
}

func reachText(r kernel.Reach) []string {
	route := fmt.Sprintf("ip route add %s", r.Subnet)
	if r.Via.IsValid() {
		route += " via " + r.Via.String()
	}
	route += " dev " + r.Link
	if r.OnLink {
		route += " onlink"
	}
	out := []string{route}
	if r.MAC != nil {
		out = append(out, fmt.Sprintf("ip neigh add %s lladdr %s dev %s nud permanent", r.Via, r.MAC, r.Link),
			fmt.Sprintf("bridge fdb add %s dev %s dst %s", r.MAC, r.Link, r.Remote))
	}
	return out
}
