package bridge

import (
	"context"
	"net"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Where default routes lead.
var (
	anywhere4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	anywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// Link makes the endpoint's veth pair: the outside a port of the bridge, the
// inside born in the namespace under its own name.
func (Driver) Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at driver.Place) (driver.Attachment, error) {
	o, err := parse(n.NetworkSpec)
	if err != nil {
		return driver.Attachment{}, err
	}
	inside, err := insideOf(n, ep)
	if err != nil {
		return driver.Attachment{}, err
	}
	inside.MTU = o.mtu // 0: that of the bridge, which is the host's
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

// insideOf is the endpoint's interface as the container sees it.
func insideOf(n catenet.Network, ep catenet.Endpoint) (kernel.Interface, error) {
	mac, err := net.ParseMAC(ep.MAC)
	if err != nil {
		return kernel.Interface{}, catenet.Invalidf("%q is no MAC address", ep.MAC)
	}
	more, err := sysctls(ep.Spec)
	if err != nil {
		return kernel.Interface{}, err
	}
	i := kernel.Interface{
		Link: ep.Interface, Name: ep.Interface, Alias: kernel.Mark + ep.ID, MAC: mac,
		NoIPv6: !ep.IPv6.IsValid(), Sysctls: more,
	}
	for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
		if a.IsValid() {
			i.Addrs = append(i.Addrs, a)
		}
	}
	if n.Internal {
		return i, nil
	}
	if ep.DefaultRoute4 {
		i.Routes = append(i.Routes, kernel.Route{Dst: anywhere4, Gateway: ep.Gateway4})
	}
	if ep.DefaultRoute6 {
		i.Routes = append(i.Routes, kernel.Route{Dst: anywhere6, Gateway: ep.Gateway6})
	}
	return i, nil
}

// Unlink removes the outsides of endpoints; the insides go with them.
func (Driver) Unlink(ctx context.Context, h kernel.Host, _ catenet.Network, eps ...catenet.Endpoint) error {
	links := make([]string, len(eps))
	for i, ep := range eps {
		links[i] = driver.HostLinkName(ep.ID)
	}
	return h.DeleteLinks(ctx, links...)
}
