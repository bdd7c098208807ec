package catenet

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Route is a static route of a network's containers.
type Route struct {
	Dst     netip.Prefix `json:"dst"`              // masked; not the default route
	Gateway netip.Addr   `json:"gateway"`          // in one of the network's subnets, of Dst's family
	Metric  int          `json:"metric,omitempty"` // the lower is preferred; 0: the kernel's own
}

// ParseRoute reads the argument of --route, DESTINATION,GATEWAY[,METRIC].
func ParseRoute(s string) (Route, error) {
	bad := func(what string) (Route, error) {
		return Route{}, Invalidf("route %q: %s", s, what).WithHint("a route is written DESTINATION,GATEWAY[,METRIC], like 10.9.0.0/16,10.8.0.2")
	}
	parts := strings.Split(s, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return bad("it has a destination, a gateway and perhaps a metric")
	}
	var r Route
	var err error
	if r.Dst, err = netip.ParsePrefix(parts[0]); err != nil {
		return bad("the destination is no subnet")
	}
	if r.Gateway, err = netip.ParseAddr(parts[1]); err != nil {
		return bad("the gateway is no IP address")
	}
	if len(parts) == 3 {
		metric, err := strconv.ParseUint(parts[2], 10, 31)
		if err != nil || metric == 0 {
			return bad("the metric is no number from 1 to 2147483647")
		}
		r.Metric = int(metric)
	}
	return r, nil
}

// Validate checks a route in itself.
func (r Route) Validate() error {
	bad := func(what string) error {
		return Invalidf("route %s: %s", r, what).WithHint("a route leads to a subnet, like 10.9.0.0/16, by the address of a gateway in the network")
	}
	switch {
	case !r.Dst.IsValid() || r.Dst != r.Dst.Masked():
		return bad("its destination is no subnet without host bits")
	case r.Dst.Addr().Is4In6():
		return bad("its destination is IPv4 written as IPv6")
	case r.Dst.Bits() == 0:
		return bad("the default route is that of the network's gateway")
	case !r.Gateway.IsValid() || r.Gateway.IsUnspecified() || r.Gateway.Zone() != "" || r.Gateway.Is4In6():
		return bad("it has no gateway, which is a plain address")
	case r.Gateway.Is4() != r.Dst.Addr().Is4():
		return bad("its gateway is of the other family")
	case r.Metric < 0 || r.Metric > math.MaxInt32:
		return bad("its metric is no number from 0 to 2147483647")
	}
	return nil
}

// String returns the route as ParseRoute reads it.
func (r Route) String() string {
	s := r.Dst.String() + "," + r.Gateway.String()
	if r.Metric != 0 {
		s += "," + strconv.Itoa(r.Metric)
	}
	return s
}
