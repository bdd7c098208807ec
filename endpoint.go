package catenet

import (
	"net/netip"
	"time"
)

// EndpointSpec is what somebody asks for when a container joins a network.
type EndpointSpec struct {
	ID        string     `json:"id,omitempty"`        // 64 hexadecimal digits that no other has; "" makes one
	Network   string     `json:"network"`             // name, ID or unambiguous ID prefix
	IPv4      netip.Addr `json:"ipv4,omitzero"`       // fixed address; zero: the next free one
	IPv6      netip.Addr `json:"ipv6,omitzero"`       // likewise
	MAC       string     `json:"mac,omitempty"`       // "" makes one from the address
	Aliases   []string   `json:"aliases,omitempty"`   // more names in this network
	Links     []Link     `json:"links,omitempty"`     // containers of this network, by names of its own
	Interface string     `json:"interface,omitempty"` // name inside; "" is the first free ethN
	// GwPriority: the endpoint with the highest one gives the default route;
	// among equals the network whose name sorts first.
	GwPriority int `json:"gw_priority,omitempty"`
	// NoDefault4 and 6: whatever the priority, no default route of that family
	// goes through the endpoint.
	NoDefault4 bool `json:"no_default4,omitempty"`
	NoDefault6 bool `json:"no_default6,omitempty"`
	// OwnResolver: the container is told an address of its resolver for this
	// network alone, one of 127.128.0.0/9.
	OwnResolver bool              `json:"own_resolver,omitempty"`
	Bandwidth   Bandwidth         `json:"bandwidth,omitzero"`
	Options     map[string]string `json:"options,omitempty"` // com.docker.network.endpoint.…
	Labels      map[string]string `json:"labels,omitempty"`  // notes of whoever asked; nobody here reads them
}

// Endpoint is a sandbox's place in one network.
type Endpoint struct {
	ID        string       `json:"id"`
	NetworkID string       `json:"network_id"`
	SandboxID string       `json:"sandbox_id"`
	Spec      EndpointSpec `json:"spec"`                // as asked; Spec.Network is the network's name
	Interface string       `json:"interface"`           // name inside the sandbox
	HostLink  string       `json:"host_link,omitempty"` // name of the link on the host, where there is one
	MAC       string       `json:"mac,omitempty"`
	IPv4      netip.Prefix `json:"ipv4,omitzero"` // address and the subnet's length
	IPv6      netip.Prefix `json:"ipv6,omitzero"`
	Gateway4  netip.Addr   `json:"gateway4,omitzero"` // of its network, whether or not the default route goes there
	Gateway6  netip.Addr   `json:"gateway6,omitzero"`
	// DefaultRoute says for which families the sandbox's default route goes
	// through this endpoint.
	DefaultRoute4 bool      `json:"default_route4,omitempty"`
	DefaultRoute6 bool      `json:"default_route6,omitempty"`
	Parked        *Parked   `json:"parked,omitempty"` // of a sandbox that is furnished by others
	Created       time.Time `json:"created"`
}

// Parked is what is handed to whoever furnishes a namespace beside an
// endpoint's addresses.
type Parked struct {
	Link   string  `json:"link"`             // on the host, until it is taken
	Routes []Route `json:"routes,omitempty"` // beside the default route; a zero Gateway: Dst is on the link
}
