package cni

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// The keys of the reference plugin bridge that make a configuration one for a
// network of our own, and what becomes of those that are not in bridgeConfig.
var (
	bridgeKeys = []string{"bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "mtu",
		"hairpinMode", "promiscMode", "portIsolation", "enabledad", "preserveDefaultVlan", "ipam"}
	// A container reaches its own published port without hairpinMode and
	// promiscMode; the bridge's address is always ours to set; the backend is
	// nftables; IPv6 addresses are unique by our records; there are no VLANs.
	generalKeys = []string{"cniVersion", "cniVersions", "name", "type", "network", "capabilities", "dns", "runtimeConfig", "args", "prevResult", "daemon", "portsHeld", "disableCheck", "disableGC"}
	// refusedKeys would make another network than we can: they are refused
	// unless they say that they are off.
	refusedKeys = []string{"vlan", "vlanTrunk", "macspoofchk", "disableContainerInterface"}
)

// check refuses what is not understood.
func (c *config) check(text []byte) error {
	if err := catenet.ValidateName("network", c.Name); err != nil {
		return err
	}
	keys := make(map[string]json.RawMessage)
	if err := decode(text, &keys); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case slices.Contains(bridgeKeys, key):
			c.bridged = true
			if c.Network != "" {
				return catenet.Invalidf("%q says how a network is made, and \"network\" joins %s, which exists", key, c.Network).WithHint("leave one of them out")
			}
		case slices.Contains(refusedKeys, key):
			if !isOff(keys[key]) {
				return coded(codeField, catenet.Unsupportedf("the key %q: %s is not supported", key, keys[key]).WithHint("leave it out, or use the reference plugin"))
			}
		case !slices.Contains(generalKeys, key) && !strings.HasPrefix(key, "cni.dev/"):
			return coded(codeField, catenet.Invalidf("the key %q: %s is not known", key, keys[key]).WithHint("keys: network, or %s", strings.Join(bridgeKeys, ", ")))
		}
	}
	for key, known := range map[string]any{"ipam": new(ipamConfig), "runtimeConfig": new(runtimeConfig), "dns": new(dnsConfig)} {
		if err := checkInside(key, keys[key], known); err != nil {
			return err
		}
	}
	if c.Network != "" && len(c.RuntimeConfig.IPRanges) > 0 {
		return coded(codeField, catenet.Invalidf("ipRanges says how a network is made, and \"network\" joins %s, which exists", c.Network).WithHint("leave one of them out"))
	}
	return c.checkIPAM()
}

// checkInside refuses what is not known inside of a key's value.
func checkInside(key string, value json.RawMessage, known any) error {
	if value == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(known); err != nil {
		return coded(codeField, catenet.Invalidf("the key %q: %s", key, strings.TrimPrefix(err.Error(), "json: ")).
			WithHint("leave it out, or use the reference plugins"))
	}
	return nil
}

// isOff tells a value that asks for nothing.
func isOff(v json.RawMessage) bool {
	return slices.Contains([]string{"false", "0", "null", `""`, "[]", "{}"}, string(v))
}

func (c *config) checkIPAM() error {
	if c.IPAM == nil || c.IPAM.Type == "" || c.IPAM.Type == "host-local" {
		return nil
	}
	return coded(codeField, catenet.Unsupportedf("ipam.type %q is not supported: addresses are handed out by the daemon", c.IPAM.Type).
		WithHint("write host-local, with its ranges, or leave ipam out"))
}
