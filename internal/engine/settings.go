package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/kernel"
)

// configDriver is the driver of config-only networks, as with Docker: the one
// that makes nothing.
const configDriver = "null"

// generalize takes out of a spec's options those that no driver reads, and
// sets the fields that say the same.
func generalize(spec *catenet.NetworkSpec) error {
	ipv4 := !spec.DisableIPv4
	spec.Options = maps.Clone(spec.Options)
	for _, o := range []struct {
		key   string
		field *bool
	}{
		{catenet.OptionIPv4, &ipv4},
		{catenet.OptionIPv6, &spec.IPv6},
		{catenet.OptionInternal, &spec.Internal},
	} {
		value, asked := spec.Options[o.key]
		if !asked {
			continue
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return catenet.Invalidf("option %s: %q is neither true nor false", o.key, value)
		}
		*o.field = on
		delete(spec.Options, o.key)
	}
	spec.DisableIPv4 = !ipv4
	return nil
}

// validateConfigOnly checks a network that only holds settings, as far as
// that can be done without the driver they are for.
func validateConfigOnly(spec catenet.NetworkSpec) error {
	switch {
	case spec.ConfigFrom != "":
		return catenet.Forbiddenf("a config-only network cannot be made from another one, %s", spec.ConfigFrom).
			WithHint("leave out one of --config-only and --config-from")
	case spec.Internal || spec.Attachable:
		return catenet.Forbiddenf("a config-only network is neither internal nor attachable").
			WithHint("say so of the networks that are made from it")
	}
	if _, err := ipam.Complete(spec, ipam.Surroundings{}); err != nil {
		return err
	}
	return validateRoutes(spec)
}

// configure copies the settings of the config-only network that a spec names.
func (e *Engine) configure(spec *catenet.NetworkSpec) error {
	if spec.ConfigFrom == "" || spec.ConfigOnly {
		return nil
	}
	if spec.DisableIPv4 || spec.IPv6 || len(spec.Pools)+len(spec.DNS)+len(spec.Options)+len(spec.Labels)+len(spec.Routes) > 0 {
		return catenet.Forbiddenf("a network made from the config-only network %s has its subnets, families, DNS servers, routes, options and labels", spec.ConfigFrom).
			WithHint("leave them out, or --config-from")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	from, err := e.configNetwork(spec.ConfigFrom)
	if err != nil {
		return err
	}
	spec.ConfigFrom, spec.DisableIPv4, spec.IPv6 = from.Name, from.DisableIPv4, from.IPv6
	spec.Pools, spec.DNS, spec.Routes = slices.Clone(from.Pools), slices.Clone(from.DNS), slices.Clone(from.Routes)
	spec.Options, spec.Labels = maps.Clone(from.Options), maps.Clone(from.Labels)
	return nil
}

// configNetwork finds a config-only network. e.mu is held.
func (e *Engine) configNetwork(ref string) (*network, error) {
	n, err := e.network(ref)
	if err == nil && !n.ConfigOnly || catenet.IsNotFound(err) {
		return nil, catenet.NotFoundf("there is no config-only network %q", ref).
			WithHint("catenet network create --config-only %s makes it", ref)
	}
	return n, err
}

// madeFrom names the networks that were made from a config-only one. e.mu is
// held.
func (e *Engine) madeFrom(config *network) (names []string) {
	for _, n := range e.networks {
		if config.ConfigOnly && n.ConfigFrom == config.Name {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// settings stands in for the driver of a config-only network: there is nothing
// to bring up, and nothing to join.
type settings struct{ absent }

// Up makes nothing.
func (settings) Up(context.Context, kernel.Host, catenet.Network) (driver.State, error) {
	return driver.State{}, nil
}

// Down has nothing to remove.
func (settings) Down(context.Context, kernel.Host, catenet.Network) error { return nil }

// driverOf returns the driver of a network; nil if there is none in this build.
func (e *Engine) driverOf(n catenet.Network) driver.Driver {
	if n.ConfigOnly {
		return settings{absent{configDriver, catenet.Forbiddenf("network %s is config-only: it holds settings for others, and nobody can join it", n.Name).
			WithHint("catenet network create --config-from %s NAME makes a network of them", n.Name)}}
	}
	return e.drivers[n.Driver]
}

// livePools are the pools of a network that addresses are handed out of.
func livePools(n catenet.Network) []catenet.Pool {
	if n.ConfigOnly {
		return nil
	}
	return n.Pools
}
