package main

import (
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// endpointKeys are those that may stand behind a network.
var endpointKeys = []string{"ip", "ip6", "mac", "alias", "link", "interface_name", "gw-priority", "driver-opt"}

// parseNetwork reads one --network that is no mode: a network's name, or with
// more, NET:ip=…,alias=…, or docker's long form name=NET,ip=…
func parseNetwork(s string) (catenet.EndpointSpec, error) {
	var ep catenet.EndpointSpec
	name, rest := s, ""
	if i := strings.IndexAny(s, ":=,"); i >= 0 {
		switch s[i] {
		case ':':
			name, rest = s[:i], s[i+1:]
			if rest == "" {
				return ep, badNetwork(s, "there is nothing behind the ':'")
			}
		case '=':
			name, rest = "", s
		default:
			return ep, badNetwork(s, "the network is followed by ':', or preceded by name=")
		}
	}
	seen := map[string]bool{"alias": false, "link": false, "driver-opt": false} // which may be there more than once
	for part := range strings.SplitSeq(rest, ",") {
		if rest == "" {
			break
		}
		key, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return ep, badNetwork(s, "%q has no value", part)
		}
		key = strings.ReplaceAll(key, "_", "-")
		if seen[key] {
			return ep, badNetwork(s, "%s is there twice", key)
		}
		if _, many := seen[key]; !many {
			seen[key] = true
		}
		if key == "name" {
			if name != "" {
				return ep, badNetwork(s, "it names two networks, %s and %s", name, value)
			}
			name = value
			continue
		}
		if err := setEndpoint(&ep, s, key, value); err != nil {
			return ep, err
		}
	}
	if name == "" {
		return ep, badNetwork(s, "it names no network")
	}
	ep.Network = name
	return ep, catenet.ValidateRef("network", name)
}

// setEndpoint sets what one key says; arg is the whole argument.
func setEndpoint(ep *catenet.EndpointSpec, arg, key, value string) (err error) {
	switch key {
	case "ip":
		ep.IPv4, err = address("ip", value, 32)
	case "ip6":
		ep.IPv6, err = address("ip6", value, 128)
	case "mac", "mac-address":
		ep.MAC, err = macAddress("mac", value)
	case "alias":
		ep.Aliases = append(ep.Aliases, value)
		err = catenet.ValidateName("alias", value)
	case "link":
		var l catenet.Link
		if l, err = catenet.ParseLink(value); err == nil {
			ep.Links = append(ep.Links, l)
			err = catenet.ValidateLinks(ep.Links)
		}
	case "interface-name":
		ep.Interface = value
		err = catenet.ValidateInterfaceName(value)
	case "gw-priority":
		if ep.GwPriority, err = strconv.Atoi(value); err != nil {
			err = badNetwork(arg, "gw-priority %q is no number", value)
		}
	case "driver-opt":
		k, v, ok := strings.Cut(value, "=")
		if !ok || k == "" {
			return badNetwork(arg, "driver-opt %q is not KEY=VALUE", value)
		}
		if ep.Options == nil {
			ep.Options = map[string]string{}
		}
		ep.Options[k] = v
	default:
		err = badNetwork(arg, "unknown key %q", key)
	}
	return err
}

func badNetwork(arg, format string, args ...any) error {
	return catenet.Invalidf("network %q: "+format, append([]any{arg}, args...)...).
		WithHint("it is written NETWORK[:key=value,…] or name=NETWORK,key=value,…; keys: %s", strings.Join(endpointKeys, ", "))
}
