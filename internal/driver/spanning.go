package driver

import (
	"context"
	"net/netip"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Spanning is implemented by drivers whose networks reach over several hosts, each
// of which takes a part that has to be kept. Up, Link and Down find the part in
// the network.
//
//	Join ─► on record ─► Up ─► Run … ─► Down ─► Leave
//	                      ▲ each start │
//	                      └────────────┘
type Spanning interface {
	// Join takes this host's part of a network, which has no part yet, and no pools.
	// ahead is asked before anything is taken, and refuses a span that cannot be on
	// this host: the part may be another network's here. From then on it is Leave that
	// gives back what may have been taken.
	Join(ctx context.Context, h kernel.Host, n catenet.Network, ahead func(span []netip.Prefix) error) (catenet.Part, error)
	// Run keeps the part, and what leads to the other hosts, until ctx ends. It does
	// not need whoever gave the part to be there. An error is told, and Run called
	// again. What leads to other hosts stays when it ends.
	Run(ctx context.Context, s Site) error
	// Leave gives back whatever this host has of a network, whose part may be unknown
	// or be given back already, and nothing that another network has taken since. The
	// host is not touched.
	Leave(ctx context.Context, n catenet.Network) error
}

// Lapse is how long a part is the host's that nobody keeps any more.
const Lapse = 24 * time.Hour

// Charted is implemented by drivers whose networks' options say where the other
// hosts are.
type Charted interface {
	// Elsewhere returns the other hosts' subnets; none of options that are not valid.
	Elsewhere(spec catenet.NetworkSpec) []netip.Prefix
	// Change makes of a network that is up what next says, as Up does, and takes
	// away what led to hosts that next does not name.
	Change(ctx context.Context, h kernel.Host, now, next catenet.Network) (State, error)
}

// ElsewhereOf returns the subnets of other hosts that a network's options name.
func ElsewhereOf(d Driver, spec catenet.NetworkSpec) []netip.Prefix {
	if c, ok := d.(Charted); ok {
		return c.Elsewhere(spec)
	}
	return nil
}

// Across refuses what no network of several hosts can be.
func Across(spec catenet.NetworkSpec) error {
	if !spec.Internal {
		return nil
	}
	return catenet.Unsupportedf("a network of several hosts cannot be internal: its containers would have no way to the other hosts").
		WithHint("leave --internal out, or make a bridge network")
}

// Change makes of a network that is up what next says.
func Change(ctx context.Context, d Driver, h kernel.Host, now, next catenet.Network) (State, error) {
	if c, ok := d.(Charted); ok {
		return c.Change(ctx, h, now, next)
	}
	return d.Up(ctx, h, next)
}

// Site is what a network that spans hosts is kept with.
type Site struct {
	Host    kernel.Host
	Network catenet.Network
	// Memory is what an earlier Run told: what it needs where nobody can be asked.
	// nil: nothing, or the machine has been started anew.
	Memory []byte
	// Lost has a value when something that leads to other hosts may be gone.
	Lost <-chan struct{}
	// Tell takes what has changed, one call at a time, and returns when it is so.
	Tell func(News)
}

// News is what has changed of a network that spans hosts. What is nil has not.
type News struct {
	// Part is this host's, which is another by now: subnets that are its own no
	// longer are handed out no more.
	Part *catenet.Part
	// Peers are all of the other hosts' parts.
	Peers []catenet.Peer
	// Hosts are the other hosts, where they reach containers by their own
	// addresses; all of them.
	Hosts  []netip.Addr
	Memory []byte
	// Traffic counts the packets of a driver that carries them itself, whenever it
	// is asked.
	Traffic func() catenet.Traffic
	// Trouble, always told, is what keeps the network from being in order; nil for
	// nothing.
	Trouble error
}
