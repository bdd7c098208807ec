package fake

import (
	"context"
	"maps"
	"reflect"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Dress implements kernel.Host.
func (k *Kernel) Dress(ctx context.Context, ns *kernel.Namespace, o kernel.Outfit) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	in := k.inside[ns.Inode]
	if in == nil {
		return catenet.NotFoundf("namespace %s is gone", ns.Path)
	}
	// On a copy, which is kept if all goes well.
	next := inside{maps.Clone(in.parked), maps.Clone(in.interfaces), in.resolver, in.further, true}
	for _, i := range o.Interfaces {
		if err := next.wear(i); err != nil {
			return err
		}
	}
	if o.ResolverPort != 0 || o.NoResolver {
		next.resolver, next.further = o.ResolverPort, o.Further
	}
	if reflect.DeepEqual(*in, next) {
		return nil
	}
	if kernel.Looks(ctx) {
		return errLooking
	}
	k.wrote(ctx)
	*in = next
	return nil
}

// wear gives the namespace one interface.
func (in *inside) wear(i kernel.Interface) error {
	outside, arrived := in.parked[i.Link]
	if _, named := in.parked[i.Name]; named && i.Link != i.Name {
		if in.interfaces[i.Name].Alias != i.Alias {
			return catenet.Conflictf("the namespace has another interface %s already", i.Name)
		}
		outside, arrived = in.parked[i.Name], true
	}
	if !arrived {
		return catenet.NotFoundf("the namespace has no interface %s", i.Link)
	}
	delete(in.parked, i.Link)
	in.parked[i.Name] = outside
	in.interfaces[i.Name] = i
	return nil
}

// Strip takes an interface's addresses and routes away inside a namespace, as
// its container could.
func (k *Kernel) Strip(path, name string) {
	k.mu.Lock()
	inode := k.places[path]
	if in := k.inside[inode]; in != nil {
		i := in.interfaces[name]
		i.Addrs, i.Routes = nil, nil
		in.interfaces[name] = i
	}
	k.mu.Unlock()
	k.tell(kernel.Loss{Namespace: inode})
}

// Cut removes a link inside a namespace, as its container could. Its other end
// goes too, wherever that is.
func (k *Kernel) Cut(path, name string) {
	k.mu.Lock()
	outside := k.inside[k.places[path]].parked[name]
	lost := []kernel.Loss{{Link: outside}}
	for inode, in := range k.inside {
		for _, end := range in.parked {
			if end == outside {
				lost = append(lost, kernel.Loss{Namespace: inode})
			}
		}
	}
	k.remove(outside)
	k.mu.Unlock()
	for _, l := range lost {
		k.tell(l)
	}
}
