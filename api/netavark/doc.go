// Package netavark speaks with Podman in place of its own netavark, and as a
// plugin of that: it translates a call of the program, its arguments and
// standard input, into the engine's verbs, and what they return into what the
// program prints. A network of Podman's and the one of the same name here are
// one.
//
// What is said here of the calls is so in netavark's sources (src/network/types.rs
// for the shapes, plugin-API.md for plugins) and was seen with Podman 4.3.1.
package netavark

import (
	"context"
	"log/slog"
	"sync"

	"github.com/catenet/catenet"
)

// Engine is what is needed of the engine: server.FullEngine says what each method
// promises.
type Engine interface {
	CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error)
	Network(ctx context.Context, ref string) (catenet.NetworkStatus, error)
	UpdateNetwork(ctx context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error)
	Networks(ctx context.Context) ([]catenet.NetworkStatus, error)
	RemoveNetwork(ctx context.Context, ref string) ([]string, error)
	Connect(ctx context.Context, network, sandbox string, spec catenet.EndpointSpec) (catenet.Endpoint, error)
	Leave(ctx context.Context, sandbox string, endpoints []string, ports []catenet.PortSpec) error
	CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error)
	UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (catenet.SandboxStatus, error)
	Sandboxes(ctx context.Context, all bool) ([]catenet.SandboxStatus, error)
	Sandbox(ctx context.Context, ref string) (catenet.SandboxStatus, error)
	Remove(ctx context.Context, ref string, force bool) error
}

// Front answers calls. It is safe for concurrent use.
type Front struct {
	// Definitions is the folder where Podman keeps the definitions of its
	// networks, one file each, and is told what of a network it shares. ""
	// is none. It is set before the first call.
	Definitions string

	engine Engine
	log    *slog.Logger
	making sync.Mutex // held while a network is found or made
}

// New makes a front of an engine.
func New(e Engine, log *slog.Logger) *Front { return &Front{engine: e, log: log} }
