package driver

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// optSysctls is an option of an endpoint, by Docker's name.
const optSysctls = "com.docker.network.endpoint.sysctls"

// Where default routes lead.
var (
	anywhere4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	anywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// Inside is an endpoint's interface as its container sees it, whatever the
// kind of network: it was born with its name, and has the endpoint's addresses
// and default routes, and the network's static ones.
func Inside(n catenet.Network, ep catenet.Endpoint) (kernel.Interface, error) {
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
	for _, r := range n.Routes {
		own := ep.IPv4
		if r.Dst.Addr().Is6() {
			own = ep.IPv6
		}
		if own.IsValid() && own.Addr() != r.Gateway { // else it is the gateway
			i.Routes = append(i.Routes, kernel.Route{Dst: r.Dst, Gateway: r.Gateway, Metric: r.Metric})
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

// EndpointOptions are those of every endpoint.
func EndpointOptions() []string { return []string{optSysctls, catenet.OptionInterface} }

// ValidateEndpoint checks the options of an endpoint of d that has no others
// than EndpointOptions.
func ValidateEndpoint(d Driver, spec catenet.EndpointSpec) error {
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		var err error
		switch key {
		case optSysctls:
			_, err = sysctls(spec)
		case catenet.OptionInterface:
			err = catenet.ValidateInterfaceName(spec.Options[key])
		default:
			err = catenet.Invalidf("an endpoint of a %s network has no option %q", d.Name(), key).
				WithHint("its options: %s", strings.Join(d.Options().Endpoint, ", "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sysctls reads an endpoint's sysctls: KEY=VALUE, separated by commas, with
// IFNAME for the interface's name, as in
// net.ipv4.conf.IFNAME.log_martians=1.
func sysctls(spec catenet.EndpointSpec) (map[string]string, error) {
	text := spec.Options[optSysctls]
	if text == "" {
		return nil, nil
	}
	out := make(map[string]string)
	for _, word := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(word), "=")
		key = strings.Replace(key, ".ifname.", ".IFNAME.", 1) // docker run writes options so
		parts := strings.Split(key, ".")
		right := ok && len(parts) == 5 && parts[0] == "net" && (parts[1] == "ipv4" || parts[1] == "ipv6" || parts[1] == "mpls") &&
			(parts[2] == "conf" || parts[2] == "neigh") && parts[3] == "IFNAME" && !strings.ContainsAny(parts[4], "/ ") && parts[4] != ""
		if !right {
			return nil, catenet.Invalidf("option %s: %q is no sysctl of an interface", optSysctls, word).
				WithHint("write net.ipv4.conf.IFNAME.KEY=VALUE (or ipv6, or neigh), with IFNAME as it stands here")
		}
		out[key] = value
	}
	return out, nil
}
