// Package flannel keeps one node's part of a flannel network in its registry in
// etcd: it reads the network's config, takes a subnet, renews it, and tells of
// the other nodes' parts as they come, change and go. What it writes is byte for
// byte what flanneld 0.28 writes, so that flanneld's nodes and ours are peers.
//
//	<prefix>/config                          the network's Config
//	<prefix>/subnets/10.5.48.0-24            a node's Record, under a lease of 24 h
//	<prefix>/subnets/10.5.48.0-24&fd00::-64  the same, of both families
//
// It touches no kernel. A part is kept thus, whatever happens to the store:
//
//	  ┌───────── the store is away, the watch ends: wait ────────┐
//	  ▼                                                          │
//	list ─► our key ─► tell all peers ─► watch ─► tell changes ──┤
//	          │                            │                     │
//	          │ missing, older: put again  └─ renew in time ─────┘
//	          │ another node's: take another subnet
//	          │ ours by another hand: stand back, and say so
//
// So there is no call to the store for a peer or for an event.
package flannel

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/catenet/catenet/internal/etcd"
)

// DefaultPrefix is where a network is registered unless somebody says otherwise.
const DefaultPrefix = "/coreos.com/network"

// Registry is where the nodes of one network find each other.
type Registry struct {
	Store  etcd.Store
	Prefix string
	// Servers are where the store is, as far as their addresses are known: a subnet
	// with one of them in it is never a peer's, whom nobody would hear leave again.
	Servers []netip.Addr
}

// Node is what a host brings to a network.
type Node struct {
	PublicIP   netip.Addr // where the others reach it
	PublicIPv6 netip.Addr // the same of the other family; zero if it has none
	// Lease is what all that it writes goes with: no other node has it, and it is
	// the same for as long as the node has a part.
	Lease etcd.LeaseID
	// Backend is asked once the config is known, and before anything is written:
	// for what the record says beside the addresses, or for the reason why this
	// host cannot take part in such a network.
	Backend func(Config) (BackendData, error)
	// Previous are the subnets that it had before, which it gets again if they are
	// free and the config has room for them; zero for none.
	Previous Subnets
	// RenewMargin is how long before its end a lease is renewed: 1 minute to 1439;
	// 0 for 60 minutes.
	RenewMargin time.Duration
	Log         *slog.Logger
}

// State is what a part needs to go on without asking the store: to be kept over
// the daemon's end.
type State struct {
	Config  string  `json:"config"` // its text in the registry
	Subnets Subnets `json:"subnets"`
}

// Peer is another node's part of the network. Peers are compared by ==.
type Peer struct {
	Subnets
	PublicIP   netip.Addr
	PublicIPv6 netip.Addr // zero if it has none
	// VTEP4 and VTEP6 are the MACs of a vxlan peer's devices; zero in other networks,
	// and of a family that it does not have.
	VTEP4, VTEP6 MAC
}

// Delta is what has changed among the parts of a network. First all in Remove go,
// then all in Add come: a peer that has changed is in both, as it was and as it is.
type Delta struct {
	// Own are this node's subnets. They change only if somebody else has been given
	// them while this node was away.
	Own Subnets
	// Full: Add has all peers there are, and whatever else is known is to go.
	Full        bool
	Add, Remove []Peer
}

// Refusal is a record of another node that is never a peer, and why.
type Refusal struct {
	Key    string `json:"key"` // below <prefix>/subnets/
	Reason string `json:"reason"`
}

// Status is how a part is doing.
type Status struct {
	Subnets Subnets
	// Owned: as far as is known, the registry says that Subnets are this node's.
	Owned   bool
	Expires time.Time // unless it is renewed; zero: never, or not known yet
	Peers   int
	Refused []Refusal // by key
	// Trouble is what keeps the part from being in order: the store is away
	// (unavailable), another node claims the PublicIP or the subnet (conflict), the
	// config in the registry is another one now (conflict), wrong or gone; nil for nothing.
	Trouble error
}
