package fake

import (
	"context"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// JoinPair implements kernel.Host. Both ends of a pair are kept under the name
// by which one of them waits.
func (k *Kernel) JoinPair(ctx context.Context, l kernel.Link) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	in := k.inside[l.Peer.NS.Inode]
	if in == nil {
		return catenet.NotFoundf("namespace %s is gone", l.Peer.NS.Path)
	}
	if l.MTU == 0 {
		l.MTU = etherMTU
	}
	waiting, waits := k.links[l.Name]
	name := l.Peer.Name
	l.Peer = nil // where the other end is, the namespace tells
	pair, taken := in.parked[name]
	switch {
	case taken && pair != l.Name:
		return catenet.Conflictf("there is an interface %s already where %s leads", name, l.Name)
	case taken && (!waits || waiting.MTU == l.MTU):
		return nil
	case waits && !taken:
		delete(k.links, l.Name)
	default:
		k.links[l.Name] = l
	}
	in.parked[name] = l.Name
	k.wrote(ctx)
	return nil
}

// PartPair implements kernel.Host.
func (k *Kernel) PartPair(ctx context.Context, l kernel.Link) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	in := k.inside[l.Peer.NS.Inode]
	if in == nil || in.interfaces[l.Peer.Name].Alias != l.Peer.Alias && in.parked[l.Peer.Name] != l.Name {
		return nil
	}
	k.wrote(ctx)
	if _, waits := k.links[l.Name]; waits || l.Name == "" {
		k.remove(in.parked[l.Peer.Name])
		return nil
	}
	if l.MTU = in.interfaces[l.Peer.Name].MTU; l.MTU == 0 {
		l.MTU = etherMTU
	}
	delete(in.parked, l.Peer.Name)
	delete(in.interfaces, l.Peer.Name)
	l.Peer = nil
	k.links[l.Name] = l
	return nil
}
