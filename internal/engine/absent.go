package engine

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// absent stands in for the driver of a network that this build cannot serve,
// by a daemon older than its record. The network stays on record as it is, is
// listed, can be removed, and joined by nobody.
type absent struct {
	name string
	why  error
}

// Name implements driver.Driver.
func (a absent) Name() string { return a.name }

// Options are not known.
func (absent) Options() catenet.DriverOptions { return catenet.DriverOptions{} }

// Validate refuses.
func (a absent) Validate(catenet.NetworkSpec) error { return a.why }

// ValidateEndpoint refuses.
func (a absent) ValidateEndpoint(catenet.Network, catenet.EndpointSpec) error { return a.why }

// Up refuses.
func (a absent) Up(context.Context, kernel.Host, catenet.Network) (driver.State, error) {
	return driver.State{}, a.why
}

// Link refuses.
func (a absent) Link(context.Context, kernel.Host, catenet.Network, catenet.Endpoint, driver.Place) (driver.Attachment, error) {
	return driver.Attachment{}, a.why
}

// Unlink removes the links by their names, and those that the host has no end
// of with their pair.
func (a absent) Unlink(ctx context.Context, h kernel.Host, _ catenet.Network, at driver.Place, eps ...catenet.Endpoint) error {
	links := make([]string, len(eps))
	for i, ep := range eps {
		links[i] = hostLink(ep)
		if ep.HostLink != "" || at.NS == nil {
			continue
		}
		if err := h.PartPair(ctx, kernel.Link{Peer: &kernel.Peer{Name: ep.Interface, NS: at.NS, Alias: kernel.Mark + ep.ID}}); err != nil {
			return err
		}
	}
	return h.DeleteLinks(ctx, links...)
}

// Down removes what carries the network's mark.
func (a absent) Down(ctx context.Context, h kernel.Host, n catenet.Network) error {
	links, err := h.Links(ctx)
	if err != nil {
		return err
	}
	var own []string
	for _, l := range links {
		if l.Alias == kernel.Mark+n.ID {
			own = append(own, l.Name)
		}
	}
	return h.DeleteLinks(ctx, own...)
}
