// Package none is the driver of the predefined network none: containers of it
// have a namespace with nothing
// but lo. It is a mode: nobody joins it beside others, and there is
// one of it.
package none

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Driver is the driver of network none. It has no state.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements driver.Driver.
func (Driver) Name() string { return "null" }

// Mode implements driver.Mode.
func (Driver) Mode() string { return catenet.ModeNone }

// refused is why no further network of this kind is made, and none joined.
func refused() error {
	return catenet.Forbiddenf("there is one network of driver null, the predefined %s", catenet.NetworkNone).
		WithHint("use it as a mode: run --network %s", catenet.NetworkNone)
}

// Validate refuses: the predefined network is the only one.
func (Driver) Validate(catenet.NetworkSpec) error { return refused() }

// ValidateEndpoint refuses: there is nothing to join.
func (Driver) ValidateEndpoint(catenet.Network, catenet.EndpointSpec) error { return refused() }

// Up makes nothing.
func (Driver) Up(context.Context, kernel.Host, catenet.Network) (driver.State, error) {
	return driver.State{}, nil
}

// Link refuses: there is nothing to join.
func (Driver) Link(context.Context, kernel.Host, catenet.Network, catenet.Endpoint, driver.Place) (driver.Attachment, error) {
	return driver.Attachment{}, refused()
}

// Unlink has nothing to remove.
func (Driver) Unlink(context.Context, kernel.Host, catenet.Network, ...catenet.Endpoint) error {
	return nil
}

// Down has nothing to remove.
func (Driver) Down(context.Context, kernel.Host, catenet.Network) error { return nil }
