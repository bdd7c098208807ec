package cni

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni/version"
)

// config is a network's configuration as the plugin is handed it. Its keys are
// those of the reference plugins bridge and host-local, and our own "network".
type config struct {
	header

	Network string `json:"network"` // one that exists: then none of what follows

	// PortsHeld: the runtime itself binds the host's ports (catenet.SandboxSpec).
	PortsHeld bool `json:"portsHeld"`

	bridgeConfig
	IPAM *ipamConfig `json:"ipam"`

	DNS           dnsConfig       `json:"dns"`
	RuntimeConfig runtimeConfig   `json:"runtimeConfig"`
	Args          argsConfig      `json:"args"`
	PrevResult    json.RawMessage `json:"prevResult"`

	bridged bool // there are keys of a bridge
}

// header is all that DEL and GC need of a configuration.
type header struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	// Valid are the attachments that GC is to leave; nil: none were named.
	Valid  *[]attachment `json:"cni.dev/valid-attachments"`
	Valid0 *[]attachment `json:"cni.dev/attachments"` // as drafts of 1.1.0 had it
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
// configuration names (CONVENTIONS.md).
type runtimeConfig struct {
	PortMappings []portMapping   `json:"portMappings"`
	IPRanges     [][]rangeConfig `json:"ipRanges"`
	Bandwidth    bandwidthConfig `json:"bandwidth"`
	IPs          []string        `json:"ips"`
	MAC          string          `json:"mac"`
	Aliases      []string        `json:"aliases"`
	DNS          runtimeDNS      `json:"dns"`
	CgroupPath   string          `json:"cgroupPath"` // told, and nothing is asked by it
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

// removes reports whether a command only takes away. A DEL of a configuration
// that no ADD would take succeeds: there is nothing to take away, and a runtime
// that gives up an ADD would fail for ever otherwise.
func removes(command string) bool { return command == "DEL" || command == "GC" }

// read decodes what a command needs of a configuration.
func (c *config) read(command string, text []byte) error {
	if removes(command) {
		return decode(text, &c.header)
	}
	return decode(text, c)
}

// decode reads JSON, and says what is wrong with it in the words of its writer.
func decode(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		key := te.Field[strings.LastIndexByte(te.Field, '.')+1:]
		err = fmt.Errorf("%q cannot be a %s", cmp.Or(key, "the whole"), te.Value)
	}
	if err != nil {
		return coded(codeDecode, catenet.Invalidf("read the network's configuration: %w", err))
	}
	return nil
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
	if m.HostIP != "" {
		a, err := netip.ParseAddr(m.HostIP)
		if err != nil {
			return p, catenet.Invalidf("portMappings: hostIP %q is no IP address", m.HostIP)
		}
		p.HostIP = a.Unmap()
	}
	return p, p.Validate()
}

// bandwidth is the shaping in our words: ingress is what the container gets.
func (b bandwidthConfig) bandwidth() catenet.Bandwidth {
	return catenet.Bandwidth{
		In:  catenet.Rate{Bits: b.IngressRate, Burst: b.IngressBurst},
		Out: catenet.Rate{Bits: b.EgressRate, Burst: b.EgressBurst},
	}
}
