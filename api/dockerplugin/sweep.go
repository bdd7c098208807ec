package dockerplugin

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
)

// grace is how long something may be ours and not yet dockerd's: while it is made,
// it is so for some milliseconds.
const grace = 10 * time.Second

// holdings are what we have for dockerd alone, each by what dockerd would know it
// by.
type holdings struct {
	networks  map[string]string         // Docker's ID → ours: made by it, and never named
	claims    map[netip.Prefix]struct{} // subnets
	leases    map[netip.Addr]netip.Prefix
	endpoints map[string]placed // of parked sandboxes, by their IDs
}

// placed is an endpoint and its sandbox.
type placed struct {
	catenet.Endpoint
	of catenet.SandboxStatus
}

// sweepLater gives back what dockerd has forgotten while one of the two was away:
// what it does not know and we have had for longer than it takes to make it.
func (p *Plugin) sweepLater(ctx context.Context) {
	before, err := p.holdings(ctx)
	if err != nil {
		p.log.Error("look for what dockerd has forgotten", "err", err)
		return
	}
	select {
	case <-time.After(grace):
	case <-ctx.Done():
		return
	}
	if err := p.sweep(ctx, before); err != nil && ctx.Err() == nil {
		p.log.Error("give back what dockerd has forgotten", "err", err)
	}
}

func (p *Plugin) holdings(ctx context.Context) (h holdings, err error) {
	h = holdings{make(map[string]string), make(map[netip.Prefix]struct{}), make(map[netip.Addr]netip.Prefix), make(map[string]placed)}
	networks, err := p.o.Engine.Networks(ctx)
	if err != nil {
		return h, err
	}
	for _, n := range networks {
		for key, how := range n.Labels {
			if id, ok := strings.CutPrefix(key, labelPrefix); ok && how == made && n.Name == namePrefix+catenet.ShortID(id) {
				h.networks[id] = n.ID
			}
		}
	}
	claims, err := p.o.Engine.Claims(ctx)
	if err != nil {
		return h, err
	}
	for _, c := range claims {
		h.claims[c.Subnet] = struct{}{}
	}
	leases, err := p.o.Engine.Leases(ctx)
	if err != nil {
		return h, err
	}
	for _, l := range leases {
		h.leases[l.Address] = l.Subnet
	}
	sandboxes, err := p.o.Engine.Sandboxes(ctx, false)
	for _, sb := range sandboxes {
		for _, ep := range sb.Endpoints {
			if sb.Parked && sb.Owner == catenet.OwnerDocker {
				h.endpoints[ep.ID] = placed{ep, sb}
			}
			delete(h.leases, ep.IPv4.Addr())
			delete(h.leases, ep.IPv6.Addr())
		}
	}
	return h, err
}

// sweep gives back what was ours before and is so still, and dockerd does not
// know.
func (p *Plugin) sweep(ctx context.Context, before holdings) error {
	now, err := p.holdings(ctx)
	if err != nil {
		return err
	}
	if err := p.known(ctx, &now); err != nil {
		return err
	}
	for id, ep := range now.endpoints {
		if _, old := before.endpoints[id]; old {
			p.forgot("endpoint", id, p.takeOut(ctx, ep.of.ID, ep.Endpoint))
		}
	}
	for a, subnet := range now.leases {
		if _, old := before.leases[a]; old {
			p.forgot("address", a.String(), p.o.Engine.ReleaseAddress(ctx, subnet, a))
		}
	}
	for id, n := range now.networks {
		if _, old := before.networks[id]; old {
			_, err := p.o.Engine.RemoveNetwork(ctx, n)
			p.forgot("network", id, err)
		}
	}
	for subnet := range now.claims {
		if _, old := before.claims[subnet]; old {
			p.forgot("subnet", subnet.String(), p.o.Engine.ReleasePool(ctx, subnet))
		}
	}
	return nil
}

// takeOut takes an endpoint out of its sandbox for good, and gives back its addresses.
func (p *Plugin) takeOut(ctx context.Context, sandbox string, ep catenet.Endpoint) error {
	err := errors.Join(p.o.Engine.Leave(ctx, sandbox, []string{ep.ID}, nil), p.o.Engine.ReleaseHolder(ctx, ep.ID))
	for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
		if a.IsValid() {
			err = errors.Join(err, p.o.Engine.ReleaseAddress(ctx, a.Masked(), a.Addr()))
		}
	}
	return err
}

// vacate takes out of a network what is Docker's: where dockerd has none left, the
// calls for these were lost.
func (p *Plugin) vacate(ctx context.Context, network string) error {
	p.joining.Lock()
	defer p.joining.Unlock()
	all, err := p.o.Engine.Sandboxes(ctx, false)
	for _, sb := range all {
		for _, ep := range sb.Endpoints {
			if sb.Parked && sb.Owner == catenet.OwnerDocker && ep.NetworkID == network {
				err = errors.Join(err, p.takeOut(ctx, sb.ID, ep))
			}
		}
	}
	return err
}

func (p *Plugin) forgot(what, which string, err error) {
	p.log.Info("dockerd has forgotten something: given back", "what", what, "which", which, "err", err)
}

// known takes what dockerd knows out of h.
func (p *Plugin) known(ctx context.Context, h *holdings) error {
	var networks []hostNetwork
	if err := p.host.read(ctx, "/networks", &networks); err != nil {
		return err
	}
	for _, n := range networks {
		delete(h.networks, n.ID)
		for _, c := range n.IPAM.Config {
			if subnet, err := netip.ParsePrefix(c.Subnet); err == nil {
				delete(h.claims, subnet)
			}
		}
		if len(h.leases)+len(h.endpoints) == 0 {
			continue
		}
		var full hostNetwork // the list has no containers
		if err := p.host.read(ctx, "/networks/"+n.ID, &full); err != nil {
			return err
		}
		for c := range maps.Values(full.Containers) {
			delete(h.endpoints, c.EndpointID)
			for _, text := range slices.DeleteFunc([]string{c.IPv4Address, c.IPv6Address}, func(s string) bool { return s == "" }) {
				if a, err := netip.ParsePrefix(text); err == nil {
					delete(h.leases, a.Addr())
				}
			}
		}
	}
	var containers []struct{ ID string }
	if err := p.host.read(ctx, "/containers/json", &containers); err != nil {
		return err
	}
	// Of one whose namespace has come: dockerd may have taken the endpoint out while we
	// were away. Whose container it does not know at all, of that it knows nothing.
	maps.DeleteFunc(h.endpoints, func(_ string, ep placed) bool {
		return !ep.of.Expected && !slices.ContainsFunc(containers, func(c struct{ ID string }) bool { return c.ID == ep.of.RuntimeID })
	})
	return nil
}
