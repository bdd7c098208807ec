// Package driver is the contract between the engine and the kinds of network.
//
// A driver says what a network is on this host: the links it stands on and
// the link that an endpoint gets. It is a stateless translator: data in, data
// out. It never calls the engine, the store or another driver, never hears
// who is served (a container, a pod, a bare namespace), and leaves nothing
// behind when it fails; the suite in conformance/ checks that of each.
package driver

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
)

// Driver is one kind of network. Every method but Validate may be called
// again at any time, with the same arguments and the same result: restoring a
// network after a crash is Up and Link again.
type Driver interface {
	// Name is what -d says.
	Name() string
	// Options lists the options there are, as the hint to an unknown one does.
	Options() catenet.DriverOptions
	// Validate checks what was asked for before anything is touched. It is
	// pure. An unknown option is an invalid error that names it and lists
	// those there are. Pools may be absent still.
	Validate(spec catenet.NetworkSpec) error
	// ValidateEndpoint likewise checks one endpoint's options.
	ValidateEndpoint(n catenet.Network, spec catenet.EndpointSpec) error
	// Up makes the network's own links and says what it wants of the
	// firewall. That is said also where it fails, unless it cannot read the
	// network: its containers may be there, and are guarded meanwhile.
	Up(ctx context.Context, h kernel.Host, n catenet.Network) (State, error)
	// Link makes the endpoint's link and returns its inside, which the
	// engine then has the kernel dress the namespace with. Default routes
	// follow ep.DefaultRoute4 and 6.
	Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at Place) (Attachment, error)
	// Unlink removes the links of endpoints; absent ones are no error. Those of
	// endpoints that have no HostLink it finds only at the place where they
	// are. With no place, such endpoints have lost theirs already.
	Unlink(ctx context.Context, h kernel.Host, n catenet.Network, at Place, eps ...catenet.Endpoint) error
	// Down removes what Up made. Absent things are no error.
	Down(ctx context.Context, h kernel.Host, n catenet.Network) error
}

// Mode is implemented by drivers whose predefined network is a way to run and
// not joined: it has no addresses, and --network NAME stands alone.
type Mode interface {
	// Mode is what catenet.SandboxSpec.Mode says.
	Mode() string
}

// Shaped is implemented by drivers whose networks are otherwise than a
// bridge's in what the engine sees to.
type Shaped interface {
	Shape() Shape
}

// Shape is what the engine has to know of a kind of network. The zero value is
// that of a bridge.
type Shape struct {
	// Apart: the host is not in the network. Its pools have no gateway, and
	// nobody gets out by it.
	Apart bool
	// Bits4 and Bits6 are the lengths of subnets that the engine chooses; 0:
	// those of its default pools, and 64.
	Bits4, Bits6 int
	// Inside: its links are born in namespaces, and none can wait on the host
	// for one that comes late.
	Inside bool
	// Members is how many endpoints it can have at once; 0: any number.
	Members int
}

// ShapeOf returns the shape of a driver's networks.
func ShapeOf(d Driver) Shape {
	if s, ok := d.(Shaped); ok {
		return s.Shape()
	}
	return Shape{}
}

// Place is where an endpoint's link goes: into a namespace, or, with none,
// parked on the host until somebody takes it.
type Place struct {
	NS *kernel.Namespace
}

// Inner is what the inner end of an endpoint's link is called there.
func (p Place) Inner(ep catenet.Endpoint) string {
	if p.NS == nil {
		return kernel.ParkedLinkPrefix + catenet.ShortID(ep.ID)
	}
	return ep.Interface
}

// State is what a network is once it is up.
type State struct {
	// Firewall is what the network wants of it; empty for nothing.
	Firewall []firewall.Network
	Warnings []string // for people
	// Links are further ones of the network's own; Up puts them back.
	Links []string
	// Trouble is what keeps a network that is up from being whole: Up is tried
	// again. nil for nothing.
	Trouble error
	// Peers are the other hosts' parts, where they are settled by the network's
	// options.
	Peers []catenet.Peer
}

// Attachment is the inside of an endpoint, and what it wants beside: pure
// data.
type Attachment struct {
	HostLink  string // name of the link that stays outside; "" if none
	Interface kernel.Interface
}

// HostLinkName is the name of an endpoint's link on the host: a prefix by
// which the firewall tells our containers' links without being told of each,
// and the beginning of the endpoint's ID.
func HostLinkName(endpointID string) string {
	return kernel.EndpointLinkPrefix + catenet.ShortID(endpointID)
}

// ShaperName is the name of the link that what an endpoint sends goes through
// where its rate is bounded.
func ShaperName(endpointID string) string {
	return kernel.ShaperLinkPrefix + catenet.ShortID(endpointID)
}
