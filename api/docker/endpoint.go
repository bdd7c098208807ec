package docker

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
)

// EndpointSpec reads what is asked for by POST /networks/{id}/connect, in a
// version of the API. Fields that tell how an endpoint is now are passed by, as
// Docker does: clients send back what they were told.
func EndpointSpec(s *network.EndpointSettings, version string) (catenet.EndpointSpec, error) {
	if s == nil {
		return catenet.EndpointSpec{}, nil
	}
	out := catenet.EndpointSpec{
		Aliases: slices.Clone(s.Aliases), Options: maps.Clone(s.DriverOpts), GwPriority: s.GwPriority,
	}
	if c := s.IPAMConfig; c != nil {
		if len(c.LinkLocalIPs) > 0 {
			return out, catenet.Unsupportedf("link-local addresses (LinkLocalIPs, --link-local-ip) are not served").WithHint("leave them out: an interface makes its own")
		}
		out.IPv4, out.IPv6 = c.IPv4Address.Unmap(), c.IPv6Address
		if c.IPv4Address.IsValid() && (!out.IPv4.Is4() || out.IPv4.IsUnspecified()) {
			return out, refuse(400, "invalid endpoint settings:\ninvalid IPv4 address: %s", c.IPv4Address)
		}
		if c.IPv6Address.IsValid() && (!out.IPv6.Is6() || out.IPv6.Is4In6() || out.IPv6.IsUnspecified() || out.IPv6.Zone() != "") {
			return out, refuse(400, "invalid endpoint settings:\ninvalid IPv6 address: %s", c.IPv6Address)
		}
	}
	for _, text := range s.Links {
		if strings.HasPrefix(text, "/") { // as inspect tells it: /web:/self/alias
			name, alias, _ := strings.Cut(text[1:], ":")
			text = name + ":" + path.Base(alias)
		}
		l, err := catenet.ParseLink(text)
		if err != nil {
			return out, err
		}
		out.Links = append(out.Links, l)
	}
	if Since(version, "1.54") { // before, it only told how it is
		out.MAC = s.MacAddress.String()
	}
	return out, nil
}
