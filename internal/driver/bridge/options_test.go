package bridge

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func TestOptions(t *testing.T) {
	v4, v6, inner := catenet.NetworkSpec{}, catenet.NetworkSpec{IPv6: true}, catenet.NetworkSpec{Internal: true}
	for _, c := range []struct {
		spec       catenet.NetworkSpec
		key, value string
		kind       catenet.Kind // KindInternal: it is right
		says       string
	}{
		{v4, catenet.OptionBridge, "lab0", 0, ""},
		{v4, catenet.OptionBridge, "much-too-long-a-name", catenet.KindInvalid, "15 characters"},
		{v4, catenet.OptionBridge, "a/b", catenet.KindInvalid, "a/b"},
		{v4, catenet.OptionBridge, "", catenet.KindInvalid, "name"},
		{v4, optICC, "false", 0, ""},
		{v4, optICC, "no", catenet.KindInvalid, "neither true nor false"},
		{v4, optMasquerade, "maybe", catenet.KindInvalid, optMasquerade},
		{v4, catenet.OptionHostBinding, "192.0.2.1", 0, ""},
		{v4, catenet.OptionHostBinding, "::1", 0, ""},
		{v4, catenet.OptionHostBinding, "224.0.0.1", catenet.KindInvalid, "224.0.0.1"},
		{v4, catenet.OptionHostBinding, "here", catenet.KindInvalid, "here"},
		{v4, catenet.OptionMTU, "68", 0, ""},
		{v4, catenet.OptionMTUShort, "1400", 0, ""},
		{v4, catenet.OptionMTU, "67", catenet.KindInvalid, "68"},
		{v4, catenet.OptionMTU, "65536", catenet.KindInvalid, "65535"},
		{v4, catenet.OptionMTU, "big", catenet.KindInvalid, "big"},
		{v6, catenet.OptionMTU, "1279", catenet.KindInvalid, "1280"},
		{v4, catenet.OptionPrefix, "lan", 0, ""},
		{v4, catenet.OptionPrefix, "twelve-chars", catenet.KindInvalid, "prefix"},
		{v4, optDefault, "true", catenet.KindForbidden, "predefined"},
		{v4, optDefault, "false", 0, ""},
		{v4, catenet.OptionGatewayMode4, "nat", 0, ""},
		{v4, catenet.OptionGatewayMode4, "nat-unprotected", 0, ""},
		{v4, catenet.OptionGatewayMode4, "routed", 0, ""},
		{v4, catenet.OptionGatewayMode6, "routed", 0, ""},
		{v4, catenet.OptionGatewayMode4, "Routed", catenet.KindInvalid, "nat, nat-unprotected, routed, isolated"},
		{v4, catenet.OptionGatewayMode4, "isolated", catenet.KindInvalid, "--internal"},
		{v4, catenet.OptionGatewayMode6, "isolated", catenet.KindInvalid, "--internal"},
		{inner, catenet.OptionGatewayMode4, "isolated", 0, ""},
		{v4, optTrusted, "eth1:vxlan.0", 0, ""},
		{v4, optTrusted, "", catenet.KindInvalid, optTrusted},
		{v4, optTrusted, "eth1:a/b", catenet.KindInvalid, "a/b"},
		{v4, optHost4, "192.0.2.9", 0, ""},
		{v4, optHost4, "2001:db8::9", catenet.KindInvalid, "IPv4"},
		{v4, optHost4, "0.0.0.0", catenet.KindInvalid, "0.0.0.0"},
		{v4, optHost6, "2001:db8::9", 0, ""},
		{v4, optHost6, "192.0.2.9", catenet.KindInvalid, "IPv6"},
		{v4, optHost6, "fe80::1%eth0", catenet.KindInvalid, "fe80"},
		{v4, catenet.OptionInhibit4, "true", 0, ""},
		{v4, catenet.OptionInhibit4, "2", catenet.KindInvalid, catenet.OptionInhibit4},
		{v4, "com.docker.network.gateway", "10.0.0.1", catenet.KindInvalid, "--gateway"},
		{v4, "enable_iccc", "true", catenet.KindInvalid, optICC},
	} {
		c.spec.Options = map[string]string{c.key: c.value}
		err := New().Validate(c.spec)
		if (err == nil) != (c.kind == catenet.KindInternal) || err != nil && catenet.KindOf(err) != c.kind {
			t.Errorf("%s=%s: %v", c.key, c.value, err)
		}
		if err != nil && !strings.Contains(err.Error()+catenet.HintOf(err), c.says) {
			t.Errorf("%s=%s: %v (%s) does not say %q", c.key, c.value, err, catenet.HintOf(err), c.says)
		}
	}
}

func TestEndpointOptions(t *testing.T) {
	for value, right := range map[string]bool{
		"net.ipv4.conf.ifname.forwarding=1":                                       true,
		"net.ipv4.conf.IFNAME.forwarding=1":                                       true,
		"net.ipv4.conf.IFNAME.forwarding=1,net.ipv6.neigh.IFNAME.gc_stale_time=9": true,
		"net.ipv4.conf.eth0.forwarding=1":                                         false,
		"net.ipv4.conf.IFNAME.forwarding":                                         false,
		"net.ipv4.ip_forward=1":                                                   false,
		"kernel.hostname=x":                                                       false,
		"net.ipv4.conf.IFNAME.../../x=1":                                          false,
	} {
		spec := catenet.EndpointSpec{Options: map[string]string{"com.docker.network.endpoint.sysctls": value}}
		if err := New().ValidateEndpoint(catenet.Network{}, spec); (err == nil) != right || err != nil && !catenet.IsInvalid(err) {
			t.Errorf("%s: %v", value, err)
		}
	}
	spec := catenet.EndpointSpec{Options: map[string]string{catenet.OptionInterface: "a b"}}
	if err := New().ValidateEndpoint(catenet.Network{}, spec); !catenet.IsInvalid(err) {
		t.Errorf("an impossible interface name: %v", err)
	}
}
