package netavark

import (
	"bytes"
	"encoding/json"
	"net/netip"
)

// Network is a network as Podman defines it: see podman-network-inspect(1).
type Network struct {
	Name      string            `json:"name"`
	ID        string            `json:"id"` // 64 hexadecimal digits
	Driver    string            `json:"driver"`
	Interface string            `json:"network_interface,omitempty"` // the bridge, or the parent link
	Created   string            `json:"created,omitempty"`           // RFC 3339
	Subnets   []Subnet          `json:"subnets,omitempty"`
	Routes    []Route           `json:"routes,omitempty"`
	IPv6      bool              `json:"ipv6_enabled"`
	Internal  bool              `json:"internal"`
	DNS       bool              `json:"dns_enabled"` // containers know each other by name
	Servers   []netip.Addr      `json:"network_dns_servers,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	IPAM      map[string]string `json:"ipam_options,omitempty"` // driver: host-local (Podman chooses addresses), dhcp, none
}

// Subnet is one range of addresses of a network.
type Subnet struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Lease   *Lease       `json:"lease_range,omitempty"` // nil: Podman chooses from all of Subnet
}

// Lease is the part of a subnet that Podman chooses addresses from. An end
// that is not valid is that of the subnet.
type Lease struct {
	Start netip.Addr `json:"start_ip,omitzero"`
	End   netip.Addr `json:"end_ip,omitzero"`
}

// Route is a static route of a network's containers.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	Metric      int          `json:"metric,omitempty"`     // 0: usualMetric
	Type        string       `json:"route_type,omitempty"` // "" and unicast, blackhole, unreachable, prohibit
}

// request is what setup and teardown read: netavark's own shape, or that of
// its plugins, which are told of one network.
type request struct {
	ContainerID   string             `json:"container_id"`
	ContainerName string             `json:"container_name"`
	Networks      memberships        `json:"networks"`
	Info          map[string]Network `json:"network_info"` // by name
	Ports         []portMapping      `json:"port_mappings"`
	DNS           []netip.Addr       `json:"dns_servers"`

	// To a plugin:
	Network *Network    `json:"network"`
	Options *membership `json:"network_options"`
}

// membership is what a container asks of one network.
type membership struct {
	Name      string            `json:"name"` // the network's
	Interface string            `json:"interface_name"`
	IPs       []netip.Addr      `json:"static_ips"`
	MAC       string            `json:"static_mac"`
	Aliases   []string          `json:"aliases"`
	Options   map[string]string `json:"options"`
}

// memberships are an object by the networks' names in netavark 1, and an array
// in 2.
type memberships []membership

// UnmarshalJSON reads either, in order.
func (m *memberships) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte("{")) {
		return json.Unmarshal(b, (*[]membership)(m))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var one membership
		if err := dec.Decode(&one); err != nil {
			return err
		}
		one.Name, _ = name.(string)
		*m = append(*m, one)
	}
	return nil
}

// portMapping publishes Range ports, from HostPort and ContainerPort on.
type portMapping struct {
	HostIP        string `json:"host_ip"` // "" is every address
	ContainerPort uint16 `json:"container_port"`
	HostPort      uint16 `json:"host_port"`
	Range         uint16 `json:"range"`    // 0 is 1
	Protocol      string `json:"protocol"` // several with commas between; "" is tcp
}

// status is what setup tells of one network.
type status struct {
	Search     []string             `json:"dns_search_domains"`
	Servers    []netip.Addr         `json:"dns_server_ips"`
	Interfaces map[string]linkState `json:"interfaces"` // by name
}

type linkState struct {
	MAC     string    `json:"mac_address"`
	Subnets []address `json:"subnets"`
}

type address struct {
	Address netip.Prefix `json:"ipnet"` // with the subnet's length
	Gateway netip.Addr   `json:"gateway,omitzero"`
}
