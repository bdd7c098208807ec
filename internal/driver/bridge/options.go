package bridge

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// The options of a network that are the driver's alone, by Docker's names.
// "mtu" is a short form.
const (
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optICC        = "com.docker.network.bridge.enable_icc"
	optDefault    = "com.docker.network.bridge.default_bridge"
	optMTU        = "com.docker.network.driver.mtu"
	optMTUShort   = "mtu"
)

// optSysctls is an option of an endpoint.
const optSysctls = "com.docker.network.endpoint.sysctls"

// elsewhere are options of Docker's that are asked for otherwise here.
var elsewhere = map[string]string{
	"com.docker.network.enable_ipv4": "--ipv4",
	"com.docker.network.enable_ipv6": "--ipv6",
	"com.docker.network.internal":    "--internal",
	"com.docker.network.gateway":     "--gateway",
}

// lacking are options of Docker's that are known and not there yet.
var lacking = []string{
	"com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6",
	"com.docker.network.bridge.trusted_host_interfaces", "com.docker.network.bridge.inhibit_ipv4",
	"com.docker.network.host_ipv4", "com.docker.network.host_ipv6",
}

// The MTUs that a bridge can have, in bytes: at least what IPv4 must carry
// (RFC 791), and for IPv6 what RFC 8200, section 5, asks for.
const (
	minMTU  = 68
	minMTU6 = 1280
	maxMTU  = 65535
)

// options are a network's, read.
type options struct {
	name       string // of the bridge; "" is one made from the ID
	mtu        int    // bytes; 0 is the host's
	icc        bool
	masquerade bool
}

// Options implements driver.Driver.
func (Driver) Options() catenet.DriverOptions {
	return catenet.DriverOptions{
		Network:  []string{catenet.OptionBridge, optMasquerade, optICC, catenet.OptionHostBinding, optMTU, catenet.OptionPrefix},
		Endpoint: []string{optSysctls, catenet.OptionInterface},
	}
}

// Validate implements driver.Driver.
func (Driver) Validate(spec catenet.NetworkSpec) error {
	_, err := parse(spec)
	return err
}

// parse reads and checks a network's options.
func parse(spec catenet.NetworkSpec) (options, error) {
	o := options{icc: true, masquerade: true}
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		value := spec.Options[key]
		var err error
		switch key {
		case catenet.OptionBridge:
			o.name, err = value, catenet.ValidateInterfaceName(value)
		case optICC:
			o.icc, err = boolean(key, value)
		case optMasquerade:
			o.masquerade, err = boolean(key, value)
		case optMTU, optMTUShort:
			o.mtu, err = mtu(key, value, spec.IPv6)
		case catenet.OptionPrefix:
			err = prefix(key, value)
		case catenet.OptionHostBinding:
			if a, bad := netip.ParseAddr(value); bad != nil || !a.Is4() {
				err = catenet.Invalidf("option %s: %q is no IPv4 address", key, value)
			}
		case optDefault:
			var yes bool
			if yes, err = boolean(key, value); yes {
				err = catenet.Forbiddenf("option %s: network bridge is predefined and there is one of it", key)
			}
		default:
			err = unknown(key)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// unknown says what is wrong with an option that is none of ours.
func unknown(key string) error {
	if flag := elsewhere[key]; flag != "" {
		return catenet.Invalidf("option %s is not set by -o", key).WithHint("use %s", flag)
	}
	if slices.Contains(lacking, key) {
		return catenet.Unsupportedf("option %s is not supported by the bridge driver", key)
	}
	return catenet.Invalidf("the bridge driver has no option %q", key).WithHint("its options: %s", strings.Join(Driver{}.Options().Network, ", "))
}

func boolean(key, value string) (bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, catenet.Invalidf("option %s: %q is neither true nor false", key, value)
	}
	return b, nil
}

func mtu(key, value string, v6 bool) (int, error) {
	low := minMTU
	if v6 {
		low = minMTU6
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > maxMTU {
		return 0, catenet.Invalidf("option %s: %q is no MTU of this network", key, value).
			WithHint("it is a number of bytes from %d to %d", low, maxMTU)
	}
	return n, nil
}

// prefix checks the beginning of interface names: a number follows it.
func prefix(key, value string) error {
	if err := catenet.ValidateInterfaceName(value + "9999"); err != nil || value == "" {
		return catenet.Invalidf("option %s: interfaces cannot be named %q and a number", key, value).
			WithHint("a prefix is 1 to 11 characters, like eth")
	}
	return nil
}

// ValidateEndpoint implements driver.Driver.
func (Driver) ValidateEndpoint(_ catenet.Network, spec catenet.EndpointSpec) error {
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		var err error
		switch key {
		case optSysctls:
			_, err = sysctls(spec)
		case catenet.OptionInterface:
			err = catenet.ValidateInterfaceName(spec.Options[key])
		default:
			err = catenet.Invalidf("an endpoint of a bridge network has no option %q", key).
				WithHint("its options: %s", strings.Join(Driver{}.Options().Endpoint, ", "))
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
