package bridge

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
)

// The options of a network that are the driver's alone, by Docker's names.
const (
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optICC        = "com.docker.network.bridge.enable_icc"
	optDefault    = "com.docker.network.bridge.default_bridge"
	optTrusted    = "com.docker.network.bridge.trusted_host_interfaces"
	optHost4      = "com.docker.network.host_ipv4"
	optHost6      = "com.docker.network.host_ipv6"
)

// optGateway is an option of Docker's that is asked for otherwise here.
const optGateway = "com.docker.network.gateway"

// options are a network's, read.
type options struct {
	name       string // of the bridge; "" is one made from the ID
	mtu        int    // bytes; 0 is the host's
	icc        bool
	masquerade bool
	inhibit    bool       // the bridge has no IPv4 address
	trusted    []string   // links of the host
	host4      netip.Addr // what containers are seen as outside; zero is the way out's own
	host6      netip.Addr
}

// Options implements driver.Driver.
func (Driver) Options() catenet.DriverOptions {
	return catenet.DriverOptions{
		Network: []string{
			catenet.OptionBridge, optMasquerade, optICC, catenet.OptionHostBinding, catenet.OptionMTU, catenet.OptionPrefix,
			catenet.OptionGatewayMode4, catenet.OptionGatewayMode6, optTrusted, optHost4, optHost6, catenet.OptionInhibit4,
		},
		Endpoint: driver.EndpointOptions(),
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
		case catenet.OptionMTU, catenet.OptionMTUShort:
			o.mtu, err = driver.MTU(key, value, spec.IPv6)
		case catenet.OptionPrefix:
			err = driver.CheckPrefix(key, value)
		case catenet.OptionGatewayMode4, catenet.OptionGatewayMode6:
			err = gatewayMode(key, value, spec.Internal)
		case optTrusted:
			o.trusted, err = links(key, value)
		case optHost4:
			o.host4, err = source(key, value, true)
		case optHost6:
			o.host6, err = source(key, value, false)
		case catenet.OptionInhibit4:
			o.inhibit, err = boolean(key, value)
		case catenet.OptionHostBinding:
			_, err = address(key, value)
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
	if key == optGateway {
		return catenet.Invalidf("option %s is not set by -o", key).WithHint("use --gateway")
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

// ValidateEndpoint implements driver.Driver.
func (d Driver) ValidateEndpoint(_ catenet.Network, spec catenet.EndpointSpec) error {
	return driver.ValidateEndpoint(d, spec)
}
