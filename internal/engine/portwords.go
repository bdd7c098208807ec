package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/catenet/catenet"
)

// Beginnings of the warnings of ports that have no way in, of those that were
// asked for on the host and are open elsewhere, and of those that the host has
// no route for.
const (
	unpublished = "not published: "
	unmapped    = "not on the host: "
	unrouted    = "no way in: "
)

// unused warns of a host address or port that was asked for and is none,
// because all that the port comes to is routed.
func unused(p catenet.PortSpec, group []catenet.PortBinding) []string {
	named := p.HostPort != 0 || p.HostIP.IsValid() && !p.HostIP.IsUnspecified()
	if !named || len(group) == 0 || slices.ContainsFunc(group, mapped) {
		return nil
	}
	return []string{fmt.Sprintf("%sport %d/%s is open at the container's own address: its network's gateway mode is %s",
		unmapped, p.Port, p.Proto, catenet.GatewayRouted)}
}

// astray warns of a port that is led into a network in which the host has no
// IPv4 address: only a route that somebody gives it leads there. e.mu is held.
func (e *Engine) astray(p catenet.PortSpec, r *record, group []catenet.PortBinding) []string {
	for _, b := range group {
		i := slices.IndexFunc(r.Endpoints, func(ep catenet.Endpoint) bool { return ep.ID == b.EndpointID })
		if i < 0 || b.Routed || !b.HostIP.Is4() {
			continue
		}
		n := e.networks[r.Endpoints[i].NetworkID]
		if n == nil {
			continue
		}
		if inhibited, err := strconv.ParseBool(n.Options[catenet.OptionInhibit4]); err == nil && inhibited {
			return []string{fmt.Sprintf("%sport %d/%s by IPv4: the host has no address in network %s (%s), and needs a route to %s",
				unrouted, p.Port, p.Proto, n.Name, catenet.OptionInhibit4, r.Endpoints[i].IPv4.Masked())}
		}
	}
	return nil
}

// noWay says why a port cannot be published.
func noWay(r *record, p catenet.PortSpec) error {
	if p.HostIP.IsValid() {
		return catenet.Invalidf("port %d/%s cannot be published on %s: container %s has no default route of that family", p.Port, p.Proto, p.HostIP, r.Name).
			WithHint("join a network with that family, or publish on an address of the other")
	}
	if slices.ContainsFunc(r.Endpoints, func(ep catenet.Endpoint) bool { return ep.Spec.NoDefault4 || ep.Spec.NoDefault6 }) {
		return catenet.Invalidf("port %d/%s cannot be published: container %s has no default route, by which answers would leave", p.Port, p.Proto, r.Name).
			WithHint("join a network that gives it one, or leave the port out")
	}
	return catenet.Invalidf("port %d/%s cannot be published: no network of container %s leads outside", p.Port, p.Proto, r.Name).
		WithHint("join a network that the host is in and that is not --internal, or leave -p out")
}

// noSCTP says that an association to a loopback address cannot be led to a
// container: the kernel's hooks for that (kernel.Loopback) know no SCTP.
func noSCTP(p catenet.PortSpec, ip netip.Addr) error {
	return catenet.Unsupportedf("port %d/%s cannot be published on %s: SCTP does not reach a container from loopback addresses", p.Port, p.Proto, ip).
		WithHint("publish on an address of the host (ip address): its own programs reach that too")
}
