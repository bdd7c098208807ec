package netavark

import (
	"slices"
	"time"

	"github.com/catenet/catenet"
)

// Define puts a network of ours into Podman's words. Podman chooses addresses
// from the ranges that are asked for, or else from those that are set aside
// already, or else from one half of each subnet; apart are those that are still
// to be set aside.
func Define(n catenet.NetworkStatus, asked []catenet.Range) (def Network, apart []catenet.Range, err error) {
	if n.Predefined || n.ConfigOnly || n.Driver != "bridge" {
		return def, nil, catenet.Unsupportedf("network %s is none that Podman can define", n.Name).
			WithHint("export a network of the driver bridge, made by catenet network create")
	}
	def = Network{
		Name: n.Name, ID: n.ID, Driver: n.Driver, Interface: bridgeOf(n.Network), Created: n.Created.Format(time.RFC3339Nano),
		IPv6: n.IPv6, Internal: n.Internal, DNS: true, Servers: n.DNS, Labels: n.Labels,
		IPAM: map[string]string{"driver": "host-local"},
	}
	if mtu := n.Options[catenet.OptionMTU]; mtu != "" {
		def.Options = map[string]string{"mtu": mtu}
	}
	for _, r := range n.Routes {
		def.Routes = append(def.Routes, Route{Destination: r.Dst, Gateway: r.Gateway, Metric: r.Metric})
	}
	for _, p := range n.Pools {
		theirs := shareOf(p, len(n.Endpoints) > 0)
		if i := slices.IndexFunc(asked, func(r catenet.Range) bool { return p.Subnet.Contains(r.First) && p.Subnet.Contains(r.Last) }); i >= 0 {
			theirs = asked[i]
			asked = slices.Delete(slices.Clone(asked), i, i+1)
		}
		if !covered(theirs, p.SetAside) {
			apart = append(apart, theirs)
		}
		def.Subnets = append(def.Subnets, Subnet{Subnet: p.Subnet, Gateway: p.Gateway, Lease: &Lease{Start: theirs.First, End: theirs.Last}})
	}
	if len(asked) > 0 {
		return def, nil, catenet.Invalidf("the range %s is in no subnet of network %s, or its subnet has one already", asked[0], n.Name)
	}
	return def, apart, nil
}

// bridgeOf is the name of a network's bridge.
func bridgeOf(n catenet.Network) string {
	if name := n.Options[catenet.OptionBridge]; name != "" {
		return name
	}
	return "br-" + catenet.ShortID(n.ID)
}
