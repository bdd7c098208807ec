// Package flannel is the driver of networks that hosts share by flannel's registry
// in etcd: each host has a subnet of its own, and flanneld's nodes and ours reach
// each other's containers. On each host such a network is a bridge's; how packets get
// to the others is the config's choice.
//
//	container ══ bridge 10.5.1.0/24 ── flannel.1 ── UDP 8472 ──► host 192.0.2.2     vxlan
//	container ══ bridge 10.5.1.0/24 ── eth0 ───────────────────► host 192.0.2.2     host-gw
//	container ══ bridge 10.5.1.0/24 ── flannel0 ── UDP 8285 ───► host 192.0.2.2     udp
//
// The bridge, the vxlan devices and the routes are the kernel's: it needs neither
// etcd nor the daemon to go on. Packets of udp are carried by the daemon.
package flannel

import (
	"context"
	"log/slog"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/kernel"
)

// Driver is the driver. It has no state.
type Driver struct {
	driver.Driver // the bridge driver, for all that is on this host
	tunnels       kernel.Tunnels
	open          func(etcd.Config) (etcd.Store, error)
	log           *slog.Logger
}

var _ driver.Spanning = Driver{}

// New returns the driver of networks that are bridge's on each host. tunnels are for
// the udp backend, and open opens a store without asking it.
func New(bridge driver.Driver, tunnels kernel.Tunnels, open func(etcd.Config) (etcd.Store, error), log *slog.Logger) Driver {
	return Driver{bridge, tunnels, open, log}
}

// Name implements driver.Driver.
func (Driver) Name() string { return "flannel" }

// Options implements driver.Driver.
func (d Driver) Options() catenet.DriverOptions {
	o := d.Driver.Options()
	o.Network = append(ownOptions(), o.Network...)
	return o
}

// Validate implements driver.Driver.
func (d Driver) Validate(spec catenet.NetworkSpec) error {
	if spec.DisableIPv4 {
		return catenet.Unsupportedf("a flannel network has IPv4 at any rate").WithHint("leave --ipv4=false out")
	}
	if err := driver.Across(spec); err != nil {
		return err
	}
	_, err := d.parse(spec)
	return err
}

// ValidateEndpoint implements driver.Driver.
func (d Driver) ValidateEndpoint(n catenet.Network, spec catenet.EndpointSpec) error {
	if n.Options[optBridge] == noBridge {
		return errNoBridge(n.Name)
	}
	return driver.ValidateEndpoint(d, spec)
}

// Link implements driver.Driver.
func (d Driver) Link(ctx context.Context, h kernel.Host, n catenet.Network, ep catenet.Endpoint, at driver.Place) (driver.Attachment, error) {
	o, _, err := d.read(n)
	if err != nil {
		return driver.Attachment{}, err
	}
	if o.noBridge {
		return driver.Attachment{}, errNoBridge(n.Name)
	}
	n.NetworkSpec = o.base
	return d.Driver.Link(ctx, h, n, ep, at)
}

func errNoBridge(name string) error {
	return catenet.Unsupportedf("the containers of network %s are somebody else's", name).
		WithHint("make a network without -o %s=%s for containers here", optBridge, noBridge)
}
