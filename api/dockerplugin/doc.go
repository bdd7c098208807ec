// Package dockerplugin is catenet as dockerd sees it: a network driver and an
// IPAM driver, by Docker's plugin protocol. It translates, and knows nothing:
// what is asked is an engine's verb, what is remembered is in the engine's records,
// so that a request that comes twice finds what the first has made.
//
//	plugin.go    requests and answers
//	network.go   networks: a catenet network has a label for each of Docker's that is it
//	pool.go      IPAM: a pool's ID is its subnet
//	endpoint.go  endpoints: leased when they are made, parked when they join
//	port.go      published ports
//	learn.go     what no request says is asked of dockerd's own API: names
//	freed.go     names that somebody else had
//	sweep.go     what dockerd has forgotten while one of the two was away
package dockerplugin

import (
	"context"
	"net/netip"
	"time"

	"github.com/catenet/catenet"
)

// Engine is what the plugin needs of an engine; its verbs are documented there.
type Engine interface {
	Networks(ctx context.Context) ([]catenet.NetworkStatus, error)
	Network(ctx context.Context, ref string) (catenet.NetworkStatus, error)
	CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error)
	UpdateNetwork(ctx context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error)
	RemoveNetwork(ctx context.Context, ref string) ([]string, error)

	ClaimPool(ctx context.Context, ask catenet.Pool, ipv6 bool) (catenet.Claim, error)
	ReleasePool(ctx context.Context, subnet netip.Prefix) error
	Claims(ctx context.Context) ([]catenet.Claim, error)
	LeaseGateway(ctx context.Context, subnet netip.Prefix, want netip.Addr) (netip.Addr, error)
	LeaseAddress(ctx context.Context, l catenet.Lease) (catenet.Lease, error)
	ReleaseAddress(ctx context.Context, subnet netip.Prefix, a netip.Addr) error
	ReleaseHolder(ctx context.Context, holder string) error
	Leases(ctx context.Context) ([]catenet.Lease, error)

	CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error)
	UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (catenet.SandboxStatus, error)
	Sandboxes(ctx context.Context, all bool) ([]catenet.SandboxStatus, error)
	Connect(ctx context.Context, network, sandbox string, spec catenet.EndpointSpec) (catenet.Endpoint, error)
	Leave(ctx context.Context, sandbox string, endpoints []string, ports []catenet.PortSpec) error
	Events(ctx context.Context, f catenet.Filter, since time.Time) (<-chan catenet.Event, error)
}
