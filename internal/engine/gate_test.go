package engine

import (
	"context"
	"net"
	"syscall"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// gate is what a call of a fake passes that is not the fake kernel itself: it
// counts as a call of the kernel, so that it fails and dies as one.
type gate struct {
	kernel *fake.Kernel
	alive  func() error // does not return in a daemon that is dead
}

// mortal is a kernel whose calls a daemon may die at.
type mortal interface{ alive() error }

func (g gate) pass() error {
	if err := g.alive(); err != nil {
		return err
	}
	_, _, err := g.kernel.DefaultLink(context.Background())
	return err
}

// gatedProcesses: a daemon may die before a container is started and when it
// just has been.
type gatedProcesses struct {
	*fake.Processes
	gate
}

func (p gatedProcesses) Start(ctx context.Context, c kernel.Container) (int, error) {
	if err := p.pass(); err != nil {
		return 0, err
	}
	pid, err := p.Processes.Start(ctx, c)
	if dead := p.alive(); dead != nil {
		return 0, dead
	}
	return pid, err
}

func (p gatedProcesses) Signal(ctx context.Context, dir string, sig syscall.Signal) error {
	if err := p.pass(); err != nil {
		return err
	}
	return p.Processes.Signal(ctx, dir, sig)
}

type gatedRules struct {
	*nft.Memory
	gate
}

func (r gatedRules) Commit(ctx context.Context, b nft.Batch) error {
	if err := r.pass(); err != nil {
		return err
	}
	return r.Memory.Commit(ctx, b)
}

type gatedPorts struct {
	*fakePorts
	gate
}

func (p gatedPorts) ListenIn(ctx context.Context, ns *kernel.Namespace, port uint16) (net.PacketConn, net.Listener, error) {
	if err := p.pass(); err != nil {
		return nil, nil, err
	}
	return p.fakePorts.ListenIn(ctx, ns, port)
}

func (p gatedPorts) Hold(ctx context.Context, key kernel.HeldPort) (kernel.Held, error) {
	if err := p.pass(); err != nil {
		return nil, err
	}
	return p.fakePorts.Hold(ctx, key)
}

func (p gatedPorts) Set(ctx context.Context, add, remove []kernel.LoopbackPort) error {
	if err := p.pass(); err != nil {
		return err
	}
	return p.fakePorts.Set(ctx, add, remove)
}

func (p gatedPorts) Forget(ctx context.Context, ports []kernel.Flow) error {
	if err := p.pass(); err != nil {
		return err
	}
	return p.fakePorts.Forget(ctx, ports)
}
