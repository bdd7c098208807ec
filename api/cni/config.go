package cni

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni/version"
)

// config is a network's configuration as the plugin is handed it. Its keys are
// those of the reference plugins bridge and host-local, and our own "network".
type config struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Type       string `json:"type"`

	Network string `json:"network"` // one that exists: then none of what follows

	bridgeConfig
	IPAM *ipamConfig `json:"ipam"`

	DNS           dnsConfig       `json:"dns"`
	RuntimeConfig runtimeConfig   `json:"runtimeConfig"`
	Args          argsConfig      `json:"args"`
	PrevResult    json.RawMessage `json:"prevResult"`
	// Valid are the attachments that GC is to leave; nil: none were named.
	Valid  *[]attachment `json:"cni.dev/valid-attachments"`
	Valid0 *[]attachment `json:"cni.dev/attachments"` // as drafts of 1.1.0 had it

	bridged bool // there are keys of a bridge
}

// bridgeConfig is what the reference plugin bridge reads.
type bridgeConfig struct {
	Bridge           string `json:"bridge"`
	IsGateway        bool   `json:"isGateway"`
	IsDefaultGateway bool   `json:"isDefaultGateway"`
	IPMasq           bool   `json:"ipMasq"`
	MTU              int    `json:"mtu"`
	PortIsolation    bool   `json:"portIsolation"`
}

// ipamConfig is what host-local reads.
type ipamConfig struct {
	Type string `json:"type"`
	rangeConfig
	Ranges     [][]rangeConfig `json:"ranges"`
	Routes     []routeConfig   `json:"routes"`
	ResolvConf string          `json:"resolvConf"`
	DataDir    string          `json:"dataDir"` // of no use: addresses are in the daemon's records
}

type rangeConfig struct {
	Subnet     netip.Prefix `json:"subnet"`
	RangeStart netip.Addr   `json:"rangeStart"`
	RangeEnd   netip.Addr   `json:"rangeEnd"`
	Gateway    netip.Addr   `json:"gateway"`
}

type routeConfig struct {
	Dst      netip.Prefix `json:"dst"`
	GW       netip.Addr   `json:"gw"`
	Priority int          `json:"priority"`
}

type dnsConfig struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// runtimeConfig is what a runtime puts in for the capabilities that the
// configuration names (CONVENTIONS.md). cgroupPath, deviceID and the like are
// for other plugins.
type runtimeConfig struct {
	PortMappings []portMapping   `json:"portMappings"`
	IPRanges     [][]rangeConfig `json:"ipRanges"`
	Bandwidth    bandwidthConfig `json:"bandwidth"`
	IPs          []string        `json:"ips"`
	MAC          string          `json:"mac"`
	Aliases      []string        `json:"aliases"`
	DNS          runtimeDNS      `json:"dns"`
}

type runtimeDNS struct {
	Servers  []string `json:"servers"`
	Searches []string `json:"searches"`
	Options  []string `json:"options"`
}

// portMapping is one published port.
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol,omitempty"`
	HostIP        string `json:"hostIP,omitempty"`
}

// bandwidthConfig is in bits a second, and bits.
type bandwidthConfig struct {
	IngressRate  uint64 `json:"ingressRate"`
	IngressBurst uint64 `json:"ingressBurst"`
	EgressRate   uint64 `json:"egressRate"`
	EgressBurst  uint64 `json:"egressBurst"`
}

type argsConfig struct {
	CNI struct {
		IPs []string `json:"ips"`
		MAC string   `json:"mac"`
	} `json:"cni"`
}

// attachment is one interface of one container.
type attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// The keys of the reference plugin bridge that make a configuration one for a
// network of our own, and what becomes of those that are not in bridgeConfig.
var (
	bridgeKeys = []string{"bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "mtu",
		"hairpinMode", "promiscMode", "portIsolation", "enabledad", "preserveDefaultVlan", "ipam"}
	// A container reaches its own published port without hairpinMode and
	// promiscMode; the bridge's address is always ours to set; the backend is
	// nftables; IPv6 addresses are unique by our records; there are no VLANs.
	generalKeys = []string{"cniVersion", "cniVersions", "name", "type", "network", "capabilities", "dns", "runtimeConfig", "args", "prevResult", "daemon", "disableCheck", "disableGC"}
	// refusedKeys would make another network than we can: they are refused
	// unless they say that they are off.
	refusedKeys = []string{"vlan", "vlanTrunk", "macspoofchk", "disableContainerInterface"}
)

// checkVersion refuses a version that is not spoken, and a command that the
// version does not have.
func (c config) checkVersion(command string) error {
	if !slices.Contains(version.All[:], c.CNIVersion) {
		return coded(codeVersion, catenet.Unsupportedf("cniVersion %q is not spoken here", c.CNIVersion).WithHint("versions: %s", strings.Join(version.All[:], ", ")))
	}
	for of, needed := range map[string]string{"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"} {
		if command == of && !since(c.CNIVersion, needed) {
			return coded(codeVersion, catenet.Unsupportedf("cniVersion %s has no %s", c.CNIVersion, command).WithHint("it came with %s", needed))
		}
	}
	return nil
}

// check refuses what is not understood. A DEL of a configuration that no ADD
// would take succeeds: there is nothing to take away.
func (c *config) check(command string, text []byte) error {
	if err := catenet.ValidateName("network", c.Name); err != nil {
		return err
	}
	if command == "DEL" || command == "GC" {
		return nil
	}
	keys := make(map[string]json.RawMessage)
	if err := json.Unmarshal(text, &keys); err != nil {
		return coded(codeDecode, catenet.Invalidf("read the network's configuration: %w", err))
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
				return coded(codeField, catenet.Unsupportedf("the key %q is not supported", key).WithHint("leave it out, or use the reference plugin"))
			}
		case !slices.Contains(generalKeys, key) && !strings.HasPrefix(key, "cni.dev/"):
			return coded(codeField, catenet.Invalidf("the key %q is not known", key).WithHint("keys: network, or %s", strings.Join(bridgeKeys, ", ")))
		}
	}
	return c.checkIPAM()
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

// ports are the published ports in our words.
func (c config) ports() ([]catenet.PortSpec, error) {
	var ports []catenet.PortSpec
	for _, m := range c.RuntimeConfig.PortMappings {
		p, err := m.spec()
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func (m portMapping) spec() (catenet.PortSpec, error) {
	p := catenet.PortSpec{Proto: catenet.Proto(strings.ToLower(m.Protocol))}
	if p.Proto == "" {
		p.Proto = catenet.TCP
	}
	if m.HostPort < 1 || m.HostPort > 65535 || m.ContainerPort < 1 || m.ContainerPort > 65535 {
		return p, catenet.Invalidf("portMappings: host port %d and container port %d are not both ports", m.HostPort, m.ContainerPort).WithHint("ports are 1 to 65535")
	}
	p.HostPort, p.HostPortEnd, p.Port = uint16(m.HostPort), uint16(m.HostPort), uint16(m.ContainerPort)
	if m.HostIP == "" {
		return p, nil
	}
	a, err := netip.ParseAddr(m.HostIP)
	if err != nil {
		return p, catenet.Invalidf("portMappings: hostIP %q is no IP address", m.HostIP)
	}
	p.HostIP = a.Unmap()
	return p, p.Validate()
}

// bandwidth is the shaping in our words: ingress is what the container gets.
func (b bandwidthConfig) bandwidth() catenet.Bandwidth {
	return catenet.Bandwidth{
		In:  catenet.Rate{Bits: b.IngressRate, Burst: b.IngressBurst},
		Out: catenet.Rate{Bits: b.EgressRate, Burst: b.EgressBurst},
	}
}
