package engine

import (
	"slices"

	"github.com/catenet/catenet"
)

// validateRoutes checks the static routes of a network that is to be made, as
// far as that can be done without its subnets.
func validateRoutes(spec catenet.NetworkSpec) error {
	for i, r := range spec.Routes {
		if err := r.Validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(spec.Routes[:i], func(other catenet.Route) bool { return samePlace(r, other) }) {
			return catenet.Invalidf("there are two routes to %s", r.Dst).WithHint("give each another metric: DESTINATION,GATEWAY,METRIC")
		}
	}
	return nil
}

// samePlace reports whether two routes cannot be in one container. The kernel's
// own metric is 0 for IPv4, and 1024 for IPv6 (IP6_RT_PRIO_USER).
func samePlace(a, b catenet.Route) bool {
	metric := func(r catenet.Route) int {
		if r.Metric == 0 && r.Dst.Addr().Is6() {
			return 1024
		}
		return r.Metric
	}
	return a.Dst == b.Dst && metric(a) == metric(b)
}

// checkGateways checks that the gateways of static routes are in the network,
// and what they lead to is not.
func checkGateways(spec catenet.NetworkSpec) error {
	for _, r := range spec.Routes {
		near := func(p catenet.Pool) bool { return p.Subnet.Contains(r.Gateway) }
		if !slices.ContainsFunc(spec.Pools, near) {
			return catenet.Invalidf("route %s: its gateway is in no subnet of the network", r).
				WithHint("the subnets are: %s", subnets(catenet.Network{NetworkSpec: spec}))
		}
		for _, p := range spec.Pools {
			if p.Subnet.Contains(r.Dst.Addr()) && p.Subnet.Bits() <= r.Dst.Bits() {
				return catenet.Invalidf("route %s leads to the network's own subnet %s", r, p.Subnet).WithHint("its containers reach that without a route")
			}
		}
	}
	return nil
}

// checkRoutes refuses a network whose static routes are in the way of those
// that a record's other networks bring. e.mu is held.
func (e *Engine) checkRoutes(r *record, n *network) error {
	for _, ep := range r.Endpoints {
		other := e.networks[ep.NetworkID]
		if other == nil {
			continue
		}
		for _, a := range n.Routes {
			if slices.ContainsFunc(other.Routes, func(b catenet.Route) bool { return samePlace(a, b) }) {
				return catenet.Conflictf("networks %s and %s both bring container %s a route to %s", other.Name, n.Name, r.Name, a.Dst).
					WithHint("leave one of the networks, or make one with another metric of its route")
			}
		}
	}
	return nil
}
