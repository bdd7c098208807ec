package netavark

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// pluginDriver is the driver of networks that netavark hands to a plugin, the
// program of this name.
const pluginDriver = "catenet"

// optionDriver names the kind of network that is made for pluginDriver.
const optionDriver = "driver"

// hostAddress are the options of the addresses that containers are seen as
// outside.
var hostAddress = map[string]string{
	"outbound_addr4": "com.docker.network.host_ipv4",
	"outbound_addr6": "com.docker.network.host_ipv6",
}

// Spec translates a definition. What it has and we have not is an error that
// names it.
func (n Network) Spec() (catenet.NetworkSpec, error) {
	s := catenet.NetworkSpec{
		Name: n.Name, Driver: n.Driver, IPv6: n.IPv6, Internal: n.Internal,
		Labels: n.Labels, DNS: n.Servers, Options: map[string]string{},
	}
	if n.Driver == pluginDriver {
		s.Driver = n.Options[optionDriver]
	}
	switch from := n.IPAM["driver"]; {
	case from == "", from == "host-local", from == "none" && n.Driver == pluginDriver:
	default:
		return s, n.unsupported("takes its addresses from "+from, "let Podman choose them: --ipam-driver host-local")
	}
	v4 := false
	for _, p := range n.Subnets {
		if !p.Subnet.IsValid() {
			return s, catenet.Invalidf("a subnet of network %s is empty", n.Name)
		}
		v4 = v4 || p.Subnet.Addr().Is4()
		s.Pools = append(s.Pools, catenet.Pool{Subnet: p.Subnet.Masked(), Gateway: p.Gateway})
	}
	s.DisableIPv4 = !v4 && len(n.Subnets) > 0
	for _, r := range n.Routes {
		if r.Type != "" && r.Type != "unicast" {
			return s, n.unsupported("has a route of type "+r.Type, "leave it out")
		}
		s.Routes = append(s.Routes, r.Static())
	}
	switch {
	case n.Driver == "macvlan" || n.Driver == "ipvlan":
		s.Options["parent"] = n.Interface
	case n.Interface != "":
		s.Options[catenet.OptionBridge] = n.Interface
	}
	return s, n.options(&s)
}

// unsupported says what of a network we cannot do.
func (n Network) unsupported(what, hint string) error {
	return catenet.Unsupportedf("network %s %s, which catenet does not do", n.Name, what).WithHint("%s", hint)
}

// Static is the route as it is made here.
func (r Route) Static() catenet.Route {
	return catenet.Route{Dst: r.Destination, Gateway: r.Gateway, Metric: cmp.Or(r.Metric, usualMetric)}
}

// options translates those of a network that say how it is made, and checks
// those that its endpoints are told of.
func (n Network) options(s *catenet.NetworkSpec) error {
	for _, key := range slices.Sorted(maps.Keys(n.Options)) {
		value := n.Options[key]
		bad := func() error {
			return catenet.Invalidf("option %s of network %s cannot be %q", key, n.Name, value)
		}
		switch key {
		case "mtu":
			s.Options[catenet.OptionMTU] = value
		case "isolate": // no network here reaches another's containers
			if _, err := strconv.ParseBool(value); err != nil && value != "strict" {
				return bad()
			}
		case "metric":
			if _, err := strconv.ParseUint(value, 10, 31); err != nil {
				return bad()
			}
		case "no_default_route":
			if _, err := strconv.ParseBool(value); err != nil {
				return bad()
			}
		case "mode":
			switch n.Driver {
			case "macvlan", "ipvlan":
				s.Options[n.Driver+"_mode"] = value
			default:
				if value != "" && value != "managed" {
					return n.unsupported("has the option mode="+value, "catenet makes the bridge itself: leave it out")
				}
			}
		case "outbound_addr4", "outbound_addr6":
			s.Options[hostAddress[key]] = value
		case optionDriver:
			if n.Driver != pluginDriver {
				return n.unsupported("has the option driver", "-d names the driver")
			}
		default:
			if !strings.HasPrefix(key, "com.docker.network.") {
				return n.unsupported("has the option "+key, "leave it out, or run its containers on Podman's own netavark")
			}
			s.Options[key] = value
		}
	}
	return nil
}

// difference says what a definition states that does not hold of the network
// of its name here: which may have more.
func (n Network) difference(want catenet.NetworkSpec, have catenet.Network) error {
	differ := func(what string, theirs, ours any) error {
		return catenet.Conflictf("network %s is another for Podman than here: its %s is %v there and %v here", n.Name, what, theirs, ours).
			WithHint("make them alike, or remove one: podman network rm %s, catenet network rm %s", n.Name, n.Name)
	}
	switch {
	case want.Driver != "" && want.Driver != have.Driver:
		return differ("driver", want.Driver, have.Driver)
	case want.Internal != have.Internal:
		return differ("internal", want.Internal, have.Internal)
	}
	for _, p := range want.Pools {
		i := slices.IndexFunc(have.Pools, func(q catenet.Pool) bool { return p.Subnet == q.Subnet })
		if i < 0 {
			var ours []string
			for _, q := range have.Pools {
				ours = append(ours, q.Subnet.String())
			}
			return differ("subnet", p.Subnet, strings.Join(ours, ", "))
		}
		if q := have.Pools[i]; p.Gateway.IsValid() && p.Gateway != q.Gateway {
			return differ("gateway", p.Gateway, q.Gateway)
		}
	}
	for _, d := range want.DNS {
		if !slices.Contains(have.DNS, d) {
			return differ("name servers", want.DNS, have.DNS)
		}
	}
	for _, r := range want.Routes {
		if !slices.Contains(have.Routes, r) {
			return differ("route", r, have.Routes)
		}
	}
	if want, have := want.Options[catenet.OptionMTU], have.Options[catenet.OptionMTU]; want != "" && want != have {
		return differ("MTU", want, have)
	}
	return nil
}
