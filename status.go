package catenet

import (
	"net/netip"
	"time"
)

// NetworkStatus is a network and what is in it now.
type NetworkStatus struct {
	Network
	Link      string     `json:"link,omitempty"`      // what the host calls its link of the network, such as the bridge
	Use       []PoolUse  `json:"use,omitempty"`       // one for each pool, in the order of Pools
	Endpoints []Endpoint `json:"endpoints,omitempty"` // the joined ones, oldest first
	// Owners are the addresses that are handed out and who has each, in
	// rising order in each pool: one whose owner is gone is a leak.
	Owners []AddressOwner `json:"owners,omitempty"`
	// Peers are the other hosts' parts of it, by host, and Trouble what keeps it
	// from being in order.
	Peers   []Peer `json:"peers,omitempty"`
	Trouble string `json:"trouble,omitempty"`
	// Traffic is nil where the kernel carries the packets.
	Traffic *Traffic `json:"traffic,omitempty"`
}

// AddressOwner says who has an address of a network: the name of a sandbox, or
// the word that the pool has for its own, like "gateway". An ID in its place
// is one that no sandbox has: a leak.
type AddressOwner struct {
	Address netip.Addr `json:"address"`
	Owner   string     `json:"owner"`
}

// SandboxStatus is a sandbox and where it stands in the networks now. What it
// asked for is in the Sandbox; what it got is here.
type SandboxStatus struct {
	Sandbox
	Endpoints []Endpoint    `json:"endpoints,omitempty"` // oldest first
	Bindings  []PortBinding `json:"bindings,omitempty"`  // its published ports
}

// ExecSpec is one more program to run in a running container.
type ExecSpec struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // KEY=VALUE, more than the container's own
}

// LogOptions choose lines of a container's log.
type LogOptions struct {
	Follow bool      // go on until the container ends
	Tail   int       // only the last so many of the lines there are; negative: all
	Since  time.Time // only lines written at this time or later; zero: all
}

// The streams of a log line.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)
