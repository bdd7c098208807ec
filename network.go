package catenet

import (
	"net/netip"
	"time"
)

// Options that others than a network's driver read as well, by Docker's names.
const (
	OptionBridge      = "com.docker.network.bridge.name"              // a network's: what its bridge is called
	OptionHostBinding = "com.docker.network.bridge.host_binding_ipv4" // a network's: the host address of ports that name none
	OptionInhibit4    = "com.docker.network.bridge.inhibit_ipv4"      // a network's: the host has no IPv4 address in it
	// A network's: the GatewayMode of each family.
	OptionGatewayMode4 = "com.docker.network.bridge.gateway_mode_ipv4"
	OptionGatewayMode6 = "com.docker.network.bridge.gateway_mode_ipv6"
	OptionPrefix       = "com.docker.network.container_iface_prefix" // a network's: how names of interfaces inside begin
	OptionMTU          = "com.docker.network.driver.mtu"             // a network's: MTU of its links, in bytes
	OptionMTUShort     = "mtu"                                       // the same
	OptionInterface    = "com.docker.network.endpoint.ifname"        // an endpoint's: what its interface inside is called
)

// Options that say what a field of NetworkSpec says, for every driver: true or
// false. They are fields once the network is made.
const (
	OptionIPv4     = "com.docker.network.enable_ipv4"
	OptionIPv6     = "com.docker.network.enable_ipv6"
	OptionInternal = "com.docker.network.internal"
)

// Names of the predefined networks, which exist always and cannot be created
// or removed.
const (
	NetworkBridge = "bridge"
	NetworkHost   = "host"
	NetworkNone   = "none"
)

// ScopeLocal is how far every network here reaches: this host.
const ScopeLocal = "local"

// NetworkSpec is what somebody asks for when creating a network.
type NetworkSpec struct {
	Name   string `json:"name"`
	Driver string `json:"driver"` // "bridge" when empty
	// Pools are the subnets asked for, any number of each family; for one that
	// has none the engine chooses. An endpoint gets its address from the first
	// of each family that is not full.
	Pools       []Pool `json:"pools,omitempty"`
	DisableIPv4 bool   `json:"disable_ipv4,omitempty"`
	IPv6        bool   `json:"ipv6,omitempty"`
	// Internal networks reach nothing outside themselves, and nothing
	// outside reaches them.
	Internal bool `json:"internal,omitempty"`
	// Attachable is kept and shown, as with Docker: every network here is.
	Attachable bool `json:"attachable,omitempty"`
	// ConfigOnly networks are no networks but what others are made from: they
	// hold pools, options and labels, and nobody joins them. Their driver is
	// "null", whatever was asked for, and their pools are as they were given.
	ConfigOnly bool `json:"config_only,omitempty"`
	// ConfigFrom names the config-only network that pools, families, DNS,
	// routes, options and labels are copied from, none of which can be given beside it.
	ConfigFrom string            `json:"config_from,omitempty"`
	Options    map[string]string `json:"options,omitempty"` // the driver's, by full name (com.docker.network.…)
	Labels     map[string]string `json:"labels,omitempty"`
	// DNS are the servers that stand behind the resolver of containers that
	// ask for none of their own; empty: the host's.
	DNS []netip.Addr `json:"dns,omitempty"`
	// TakeClaims: the network is for a runtime that asks ahead. Subnets of Pools
	// may be claimed ones (Claim), which it takes, and links wait for namespaces.
	TakeClaims bool `json:"-"`
	// Routes are inside each container while it is in the network.
	Routes []Route `json:"routes,omitempty"`
}

// NetworkUpdate is what is to be another of a network that exists, while its
// containers run. What is not named stays. Everything else of a network is
// settled when it is made.
type NetworkUpdate struct {
	Name       string            `json:"name,omitempty"` // "": as it is
	AddLabels  map[string]string `json:"add_labels,omitempty"`
	DropLabels []string          `json:"drop_labels,omitempty"` // keys
	AddDNS     []netip.Addr      `json:"add_dns,omitempty"`     // behind those there are
	DropDNS    []netip.Addr      `json:"drop_dns,omitempty"`
	MTU        int               `json:"mtu,omitempty"` // bytes; 0: as it is
	// Options are of those that the driver lets change (DriverOptions.Update); the
	// others stay.
	Options map[string]string `json:"options,omitempty"`
	// AddPools are further subnets: what the earlier ones have no room for is
	// in them.
	AddPools []Pool `json:"add_pools,omitempty"`
	// AddSetAside and DropSetAside are ranges within the pools there are.
	AddSetAside  []Range `json:"add_set_aside,omitempty"`
	DropSetAside []Range `json:"drop_set_aside,omitempty"`
}

// Pool is one range of addresses of a network.
type Pool struct {
	Subnet netip.Prefix `json:"subnet"` // masked
	// Range narrows what is handed out unasked; zero means all of Subnet.
	Range   netip.Prefix          `json:"range,omitzero"`
	Gateway netip.Addr            `json:"gateway,omitzero"` // the bridge's own address
	Aux     map[string]netip.Addr `json:"aux,omitempty"`    // addresses that others use: never handed out
	// SetAside are addresses that somebody else chooses from: an endpoint that
	// asks for one by number gets it, one that asks for any does not.
	SetAside []Range `json:"set_aside,omitempty"`
}

// Network is a network that exists. Pools are complete: each has a subnet
// and, unless the driver has none, a gateway.
type Network struct {
	ID string `json:"id"` // 64 hexadecimal digits
	NetworkSpec
	Created    time.Time `json:"created"`
	Predefined bool      `json:"predefined,omitempty"`
	Part       *Part     `json:"part,omitempty"` // of a network that reaches over several hosts
}

// PoolUse says how full a pool is. Counts saturate at the largest uint64.
type PoolUse struct {
	Subnet netip.Prefix `json:"subnet"`
	Used   uint64       `json:"used"` // handed out, the gateway and auxiliary addresses among them
	Free   uint64       `json:"free"` // still to be handed out unasked
}
