// Package mode is the driver of the predefined networks that are a way to run
// and not joined: host, whose containers share the host's namespace, and none,
// whose have a namespace with nothing but lo. There is one network of each
// kind, and nobody joins it beside others.
package mode

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Driver is the driver of one such network. It has no state.
type Driver struct{ name, mode, network string }

// New returns the driver called name, of that mode (catenet.Mode…), whose
// predefined network is called network.
func New(name, mode, network string) Driver { return Driver{name, mode, network} }

// Name implements driver.Driver.
func (d Driver) Name() string { return d.name }

// Mode implements driver.Mode.
func (d Driver) Mode() string { return d.mode }

// Options are none.
func (Driver) Options() catenet.DriverOptions { return catenet.DriverOptions{} }

// refused is why no further network of this kind is made, and none joined.
func (d Driver) refused() error {
	return catenet.Forbiddenf("there is one network of driver %s, the predefined %s", d.name, d.network).
		WithHint("use it as a mode: run --network %s", d.network)
}

// Validate refuses: the predefined network is the only one.
func (d Driver) Validate(catenet.NetworkSpec) error { return d.refused() }

// ValidateEndpoint refuses: there is nothing to join.
func (d Driver) ValidateEndpoint(catenet.Network, catenet.EndpointSpec) error { return d.refused() }

// Up makes nothing.
func (Driver) Up(context.Context, kernel.Host, catenet.Network) (driver.State, error) {
	return driver.State{}, nil
}

// Link refuses: there is nothing to join.
func (d Driver) Link(context.Context, kernel.Host, catenet.Network, catenet.Endpoint, driver.Place) (driver.Attachment, error) {
	return driver.Attachment{}, d.refused()
}

// Unlink has nothing to remove.
func (Driver) Unlink(context.Context, kernel.Host, catenet.Network, driver.Place, ...catenet.Endpoint) error {
	return nil
}

// Down has nothing to remove.
func (Driver) Down(context.Context, kernel.Host, catenet.Network) error { return nil }
