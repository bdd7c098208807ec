// Package server serves catenet's own API: HTTP on a unix socket, routes
// below /v1/. It decodes, calls the engine and encodes; what is right and
// what is wrong the engine knows.
package server

import (
	"context"
	"io"
	"time"

	"github.com/catenet/catenet"
)

// Engine is what the server needs of an engine. A ref names a network or a
// sandbox: its full ID, its name, or an unambiguous prefix of its ID, tried in
// that order, and then the ID that a sandbox has with its own runtime, or a prefix
// of that; what is ambiguous is an invalid error. All methods are safe
// for concurrent use. Errors meant for people are catenet.Errors.
type Engine interface {
	Info(ctx context.Context) (catenet.Info, error)

	// CreateNetwork returns warnings for people beside the network.
	CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error)
	// Networks returns all networks, by name.
	Networks(ctx context.Context) ([]catenet.NetworkStatus, error)
	Network(ctx context.Context, ref string) (catenet.NetworkStatus, error)
	// RemoveNetwork returns warnings: the network is gone, but something of it is not
	// finished elsewhere.
	RemoveNetwork(ctx context.Context, ref string) ([]string, error)
	// UpdateNetwork changes a network while its containers run, and returns
	// it as it is then, and warnings. What is as asked already is no change.
	UpdateNetwork(ctx context.Context, ref string, up catenet.NetworkUpdate) (catenet.Network, []string, error)
	// PruneNetworks removes the networks that are not predefined and that
	// no endpoint is in and f matches (Filter.MatchNetwork, keys
	// PruneFilterKeys), and returns their names.
	PruneNetworks(ctx context.Context, f catenet.Filter) ([]string, error)
	// Connect joins a sandbox to a network. spec.Network is ignored.
	Connect(ctx context.Context, network, sandbox string, spec catenet.EndpointSpec) (catenet.Endpoint, error)
	// Disconnect takes a sandbox out of a network. With force a sandbox that
	// is not in it, not to be found at all, or parked is no error.
	Disconnect(ctx context.Context, network, sandbox string, force bool) error

	// CreateSandbox makes a sandbox. One of OwnerRun is started if start is
	// set, and stays in StateCreated otherwise; all others join their networks
	// at once.
	CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error)
	// Sandboxes returns the running ones, or all, newest first.
	Sandboxes(ctx context.Context, all bool) ([]catenet.SandboxStatus, error)
	Sandbox(ctx context.Context, ref string) (catenet.SandboxStatus, error)
	// UpdateSandbox changes a sandbox, be it while it runs, and returns it as
	// it is then. What is as asked already is no change.
	UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (catenet.SandboxStatus, error)
	// Check compares a running sandbox with what the kernel has of it, and
	// changes nothing: what differs is a conflict.
	Check(ctx context.Context, ref string) error
	Start(ctx context.Context, ref string) error
	// Stop asks the container to end, ends it after grace, and returns when
	// it has ended. One that does not run is no error.
	Stop(ctx context.Context, ref string, grace time.Duration) error
	// Remove removes a sandbox; of an attached one only what is ours. One of
	// OwnerRun that runs is a conflict unless force is set.
	Remove(ctx context.Context, ref string, force bool) error
	// Wait blocks until the container is not running, and returns how it
	// ended; of one in StateCreated, until its first run has ended. A
	// removal on its end (Process.AutoRemove) does not get in the way once
	// found has been called: the container is there, and its end will be told.
	Wait(ctx context.Context, ref string, found func()) (exitCode int, err error)
	// Exec runs one more program in a running sandbox and returns its exit
	// code; the program is killed when ctx ends. stdin may be nil.
	Exec(ctx context.Context, ref string, spec catenet.ExecSpec, stdin io.Reader, stdout, stderr io.Writer) (int, error)
	// Logs calls emit for each line (with its newline; one longer than 16 KiB
	// in pieces), oldest first. With
	// Follow it goes on until the container has ended and its last line is
	// told, also where the end removes the container; one in StateCreated is
	// waited for. found is called before all lines, as by Wait. An error of
	// emit ends it and is returned.
	Logs(ctx context.Context, ref string, o catenet.LogOptions, found func(), emit func(stream string, t time.Time, line []byte) error) error

	// Endpoints returns the endpoints of all sandboxes.
	Endpoints(ctx context.Context) ([]catenet.Endpoint, error)
	// Ports returns all published ports.
	Ports(ctx context.Context) ([]catenet.PortBinding, error)
	// Events subscribes: what happens after it returns is told on the
	// channel if f matches (Filter.MatchEvent), and before that, in order,
	// what has happened since and is remembered: the last 256 events. Those
	// are on the channel when it returns; with since zero there are none. The
	// channel is closed when ctx ends, and where the reader is too slow.
	Events(ctx context.Context, f catenet.Filter, since time.Time) (<-chan catenet.Event, error)
}

// FullEngine has, beside what the API serves, what only guests' fronts call.
type FullEngine interface {
	Engine

	// Leave takes endpoints, by their IDs, out of a sandbox, and closes those of
	// its ports that came with them; a namespace of somebody else's that is left
	// without any is detached. What is not there any more is as asked.
	Leave(ctx context.Context, sandbox string, endpoints []string, ports []catenet.PortSpec) error
}
