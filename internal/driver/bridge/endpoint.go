package bridge

import (
	"context"
	"errors"

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
	through, err := ensureShaper(ctx, h, ep)
	if err != nil {
		return driver.Attachment{}, err
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
		Rate:    rateOf(ep.Spec.Bandwidth.In), Through: through,
		Peer: &kernel.Peer{Name: inside.Link, MAC: inside.MAC, NS: at.NS},
	})
	if err != nil && through != "" {
		err = errors.Join(err, h.DeleteLinks(context.WithoutCancel(ctx), through))
	}
	return driver.Attachment{HostLink: outside, Interface: inside}, err
}

// ensureShaper makes the link that what the container sends goes through, if
// that is bounded, and returns its name.
func ensureShaper(ctx context.Context, h kernel.Host, ep catenet.Endpoint) (string, error) {
	rate := rateOf(ep.Spec.Bandwidth.Out)
	if rate == (kernel.Rate{}) {
		return "", nil
	}
	name := driver.ShaperName(ep.ID)
	return name, h.EnsureLink(ctx, kernel.Link{Name: name, Kind: "ifb", Alias: kernel.Mark + ep.ID, NoIPv6: true, Rate: rate})
}

func rateOf(r catenet.Rate) kernel.Rate {
	if r.Bits == 0 {
		return kernel.Rate{}
	}
	bytes, burst := r.Bytes()
	return kernel.Rate{Bytes: bytes, Burst: burst}
}

// Unlink removes the outsides of endpoints; the insides go with them.
func (Driver) Unlink(ctx context.Context, h kernel.Host, _ catenet.Network, _ driver.Place, eps ...catenet.Endpoint) error {
	links := make([]string, 0, len(eps))
	for _, ep := range eps {
		links = append(links, driver.HostLinkName(ep.ID))
		if ep.Spec.Bandwidth.Out.Bits != 0 {
			links = append(links, driver.ShaperName(ep.ID))
		}
	}
	return h.DeleteLinks(ctx, links...)
}
