// Package cni is the front for runtimes that speak CNI, the Container Network
// Interface (github.com/containernetworking/cni, SPEC.md, 0.3.1 to 1.1.0): it
// translates one call of the plugin into verbs of the engine and back. The
// program that the runtime starts, cmd/catenet-cni, only carries the call here;
// VERSION asks about that program alone, and is answered by it.
//
// A sandbox is a container ID of the runtime's together with a namespace; each
// attachment, which is one CNI_IFNAME, is an endpoint of it. What CNI knows of
// an attachment and nobody else does is in the endpoint's labels.
//
//	call.go     the environment and what comes with it
//	config.go, keys.go  the network's configuration, checked
//	network.go  which network that is, made where it has to be
//	add.go, del.go, check.go, gc.go  the commands
//	result.go   what a runtime is answered
package cni

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni/version"
	"github.com/catenet/catenet/api/pipe"
)

// Engine is what the front needs of an engine: the verbs of server.FullEngine.
type Engine interface {
	Network(ctx context.Context, ref string) (catenet.NetworkStatus, error)
	CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error)
	CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error)
	Sandbox(ctx context.Context, ref string) (catenet.SandboxStatus, error)
	Sandboxes(ctx context.Context, all bool) ([]catenet.SandboxStatus, error)
	Check(ctx context.Context, ref string) error
	UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (catenet.SandboxStatus, error)
	Connect(ctx context.Context, network, sandbox string, spec catenet.EndpointSpec) (catenet.Endpoint, error)
	Leave(ctx context.Context, sandbox string, endpoints []string, ports []catenet.PortSpec) error
}

// Path is where calls come in.
const Path = "/v1/cni"

// since reports whether version v of the specification is at least that one.
func since(v, that string) bool {
	return slices.Index(version.All[:], v) >= slices.Index(version.All[:], that)
}

// Front answers the plugin's calls. It is safe for concurrent use: what
// concerns one container, or the making of one network, goes one at a time.
type Front struct {
	engine Engine
	busy   keyed
}

// New makes a front of an engine.
func New(e Engine) *Front { return &Front{engine: e, busy: keyed{locks: make(map[string]*lock)}} }

// Answer carries out one call. What the plugin prints is always JSON: a result,
// an error, or nothing where the command has no result.
func (f *Front) Answer(ctx context.Context, call pipe.Call) pipe.Answer {
	c, err := readCall(call)
	var out any
	if err == nil {
		out, err = f.do(ctx, c)
	}
	if err != nil {
		return failure(c.conf.CNIVersion, err)
	}
	if out == nil {
		return pipe.Answer{}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return failure(c.conf.CNIVersion, err)
	}
	return pipe.Answer{Stdout: append(b, '\n')}
}

// do is the command itself.
func (f *Front) do(ctx context.Context, c call) (any, error) {
	switch c.command {
	case "ADD":
		return f.add(ctx, c)
	case "DEL":
		return nil, f.del(ctx, c)
	case "CHECK":
		return nil, f.check(ctx, c)
	case "STATUS":
		return nil, f.status(ctx, c)
	}
	return nil, f.gc(ctx, c)
}

// keyed are locks by name; one that nobody holds or waits for is forgotten.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	sync.Mutex
	users int // keyed.mu guards it
}

// hold takes the lock of that name and returns what lets go of it.
func (k *keyed) hold(name string) func() {
	k.mu.Lock()
	l := k.locks[name]
	if l == nil {
		l = &lock{}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
		}
	}
}
