package fake

import (
	"context"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// Create implements kernel.Namespaces.
func (k *Kernel) Create(ctx context.Context, path string) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	return k.place(path, k.fresh(true))
}

// Pin implements kernel.Namespaces.
func (k *Kernel) Pin(ctx context.Context, source, path string) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	inode, ok := k.places[source]
	if !ok {
		return catenet.NotFoundf("there is no namespace at %s", source)
	}
	return k.place(path, inode)
}

// Unpin implements kernel.Namespaces.
func (k *Kernel) Unpin(ctx context.Context, path string) error {
	err := k.call(ctx)
	defer k.mu.Unlock()
	if err != nil {
		return err
	}
	k.unplace(path)
	return nil
}

// Open implements kernel.Namespaces. The descriptor is nil, and keeps nothing
// alive.
func (k *Kernel) Open(path string) (*kernel.Namespace, error) {
	err := k.call(context.Background())
	defer k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	inode, ok := k.places[path]
	if !ok {
		return nil, catenet.NotFoundf("there is no namespace at %s", path)
	}
	return &kernel.Namespace{Path: path, Inode: inode}, nil
}

// Target implements kernel.Namespaces: a process is known by its path only.
func (k *Kernel) Target(path string, inode uint64) (kernel.Target, error) {
	return kernel.Target{Path: path, Inode: inode}, nil
}

// Host implements kernel.Namespaces.
func (k *Kernel) Host() (uint64, error) { return hostInode, nil }

// Come implements kernel.Namespaces.
func (k *Kernel) Come(ctx context.Context, path string) error {
	for {
		k.mu.Lock()
		_, ok := k.places[path]
		changed := k.changed
		k.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Gone implements kernel.Namespaces.
func (k *Kernel) Gone(ctx context.Context, t kernel.Target) error {
	for {
		k.mu.Lock()
		inode, ok := k.places[t.Path]
		changed := k.changed
		k.mu.Unlock()
		if !ok || inode != t.Inode {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Adopt puts a namespace that somebody else made at path.
func (k *Kernel) Adopt(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unplace(path)
	k.places[path] = k.fresh(true)
	k.tellPlaces()
}

// Vanish takes the namespace at path away, as its maker would.
func (k *Kernel) Vanish(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unplace(path)
}

func (k *Kernel) fresh(up bool) uint64 {
	inode := k.next
	k.next++
	k.inside[inode] = &inside{map[string]string{}, map[string]kernel.Interface{}, 0, false, up}
	return inode
}

func (k *Kernel) place(path string, inode uint64) error {
	if _, ok := k.places[path]; ok {
		return catenet.Conflictf("pin namespace: %s exists", path)
	}
	k.writes++
	k.places[path] = inode
	k.tellPlaces()
	return nil
}

// unplace removes a place. A namespace without one is gone, its veths with it.
func (k *Kernel) unplace(path string) {
	inode, ok := k.places[path]
	if !ok {
		return
	}
	k.writes++
	delete(k.places, path)
	k.tellPlaces()
	var held []uint64
	for _, i := range k.places {
		held = append(held, i)
	}
	if slices.Contains(held, inode) {
		return
	}
	for _, outside := range k.inside[inode].parked {
		k.remove(outside)
	}
	delete(k.inside, inode)
}

// tellPlaces wakes who waits for a place to come or go.
func (k *Kernel) tellPlaces() {
	close(k.changed)
	k.changed = make(chan struct{})
}
