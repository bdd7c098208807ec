package bridge

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Link makes the endpoint's veth pair: the outside a port of the bridge, the
// inside born in the namespace under its own name, or parked on the host.
func (Driver) Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at driver.Place) (driver.Attachment, error) {
	o, err := parse(n.NetworkSpec)
	if err != nil {
		return driver.Attachment{}, err
	}
	inside, err := driver.Inside(n, ep)
	if err != nil {
		return driver.Attachment{}, err
	}
	inside.Link = at.Inner(ep)
	inside.MTU = o.mtu // 0: that of the bridge, which is the host's
	inside.Routes = append(inside.Routes, siblings(n, ep, o)...)
	if !o.icc {
		detour(&inside, ep)
	}
	outside := driver.HostLinkName(ep.ID)
	err = h.EnsureLink(ctx, kernel.Link{
		Name: outside, Kind: "veth", Alias: inside.Alias, MTU: inside.MTU, Master: bridgeName(n, o),
		Isolated: !o.icc,
		// A container that reaches its own published port gets its packet
		// back by the port it came from, where bridged frames pass the IP
		// firewall (br_netfilter).
		Hairpin: true,
		NoIPv6:  true, // a port of a bridge has no addresses
		Peer:    &kernel.Peer{Name: inside.Link, MAC: inside.MAC, NS: at.NS},
	})
	return driver.Attachment{HostLink: outside, Interface: inside}, err
}

// Unlink removes the outsides of endpoints; the insides go with them.
func (Driver) Unlink(ctx context.Context, h kernel.Host, _ catenet.Network, _ driver.Place, eps ...catenet.Endpoint) error {
	links := make([]string, len(eps))
	for i, ep := range eps {
		links[i] = driver.HostLinkName(ep.ID)
	}
	return h.DeleteLinks(ctx, links...)
}
