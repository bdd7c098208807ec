package catenet

import (
	"net/netip"
	"time"
)

// Options that others than a network's driver read as well, by Docker's names.
const (
	OptionBridge      = "com.docker.network.bridge.name"              // a network's: what its bridge is called
	OptionHostBinding = "com.docker.network.bridge.host_binding_ipv4" // a network's: the host address of ports that name none
	// A network's: the GatewayMode of each family.
	OptionGatewayMode4 = "com.docker.network.bridge.gateway_mode_ipv4"
	OptionGatewayMode6 = "com.docker.network.bridge.gateway_mode_ipv6"
	OptionPrefix       = "com.docker.network.container_iface_prefix" // a network's: how names of interfaces inside begin
	OptionInterface    = "com.docker.network.endpoint.ifname"        // an endpoint's: what its interface inside is called
)

// Names of the predefined networks, which exist always and cannot be created
// or removed.
const (
	NetworkBridge = "bridge"
	NetworkHost   = "host"
	NetworkNone   = "none"
)

// NetworkSpec is what somebody asks for when creating a network.
type NetworkSpec struct {
	Name   string `json:"name"`
	Driver string `json:"driver"` // "bridge" when empty
	// Pools are the subnets asked for; empty means that the engine chooses.
	// At most one per family for drivers that say no more.
	Pools       []Pool `json:"pools,omitempty"`
	DisableIPv4 bool   `json:"disable_ipv4,omitempty"`
	IPv6        bool   `json:"ipv6,omitempty"`
	// Internal networks reach nothing outside themselves, and nothing
	// outside reaches them.
	Internal bool              `json:"internal,omitempty"`
	Options  map[string]string `json:"options,omitempty"` // the driver's, by full name (com.docker.network.…)
	Labels   map[string]string `json:"labels,omitempty"`
}

// Pool is one range of addresses of a network.
type Pool struct {
	Subnet netip.Prefix `json:"subnet"` // masked
	// Range narrows what is handed out unasked; zero means all of Subnet.
	Range   netip.Prefix          `json:"range,omitzero"`
	Gateway netip.Addr            `json:"gateway,omitzero"` // the bridge's own address
	Aux     map[string]netip.Addr `json:"aux,omitempty"`    // addresses that others use: never handed out
}

// Network is a network that exists. Pools are complete: each has a subnet
// and, unless the driver has none, a gateway.
type Network struct {
	ID string `json:"id"` // 64 hexadecimal digits
	NetworkSpec
	Created    time.Time `json:"created"`
	Predefined bool      `json:"predefined,omitempty"`
}

// PoolUse says how full a pool is. Counts saturate at the largest uint64.
type PoolUse struct {
	Subnet netip.Prefix `json:"subnet"`
	Used   uint64       `json:"used"` // handed out, the gateway and auxiliary addresses among them
	Free   uint64       `json:"free"` // still to be handed out unasked
}
