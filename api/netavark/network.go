package netavark

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/catenet/catenet"
)

// LabelID is a label of the networks that are made for Podman: its ID there.
const LabelID = "podman.network.id"

// network finds the network of a definition's name, or makes it. One that was
// made for an earlier definition, and that nobody is in, is made anew: Podman
// does not tell when it removes a network.
func (f *Front) network(ctx context.Context, n Network) (have catenet.NetworkStatus, err error) {
	want, err := n.Spec()
	if err != nil {
		return have, err
	}
	f.making.Lock()
	defer f.making.Unlock()
	have, err = f.engine.Network(ctx, n.Name)
	switch {
	case catenet.IsNotFound(err), err == nil && have.Name != n.Name: // a name may be the beginning of an ID
	case err != nil:
		return have, err
	default:
		if err = n.difference(want, have.Network); err == nil || have.Labels[LabelID] == "" || len(have.Endpoints) > 0 {
			return have, err
		}
		if _, err = f.engine.RemoveNetwork(ctx, have.ID); err != nil {
			return have, err
		}
	}
	defined, err := f.defined()
	if err == nil {
		err = f.removeRemoved(ctx, defined)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("networks that Podman has removed may be left here", "err", err, "hint", "catenet network rm removes one")
	}
	made, err := f.create(ctx, n, want, slices.Contains(defined, n.ID))
	return catenet.NetworkStatus{Network: made}, err
}

// create makes the network of a definition, which Podman has in its folder or not.
func (f *Front) create(ctx context.Context, n Network, spec catenet.NetworkSpec, defined bool) (catenet.Network, error) {
	for i, s := range n.Subnets {
		theirs, part, err := s.Leased()
		if err != nil {
			return catenet.Network{}, err
		}
		if !part {
			theirs = shareOf(spec.Pools[i], false)
		}
		spec.Pools[i].SetAside = []catenet.Range{theirs}
	}
	labels := map[string]string{LabelID: n.ID}
	if defined {
		labels[labelDefined] = f.Definitions
	}
	for key, value := range spec.Labels {
		labels[key] = value
	}
	spec.Labels = labels
	made, warnings, err := f.engine.CreateNetwork(ctx, spec)
	for _, w := range warnings {
		f.log.Warn("network made for Podman", "network", n.Name, "warning", w)
	}
	if catenet.IsNotFound(err) { // such a driver
		err = catenet.Unsupportedf("network %s: %w", n.Name, err).WithHint("make it with -d bridge, or run its containers on Podman's own netavark")
	}
	return made, err
}
