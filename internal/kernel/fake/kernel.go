// Package fake is an in-memory twin of the kernel: of kernel.Host and of
// kernel.Namespaces. What is done to it can be read as the ip(8) commands that
// would make it so, and it fails when it is told to, so that the rooms above
// can be tried without a kernel, and at every point where one could fail.
package fake

import (
	"context"
	"net/netip"
	"sync"

	"github.com/catenet/catenet/internal/kernel"
)

// hostInode is the inode of the host's own namespace.
const hostInode = 1

// Kernel is a machine. Its zero value is not usable; see New.
type Kernel struct {
	mu       sync.Mutex // guards all that follows
	links    map[string]kernel.Link
	inside   map[uint64]*inside // by inode
	places   map[string]uint64  // path → inode
	next     uint64             // inode to be given next
	routes   []netip.Prefix     // of somebody else
	reach    map[netip.Prefix]kernel.Reach
	uplink   string
	address  netip.Addr // of the uplink
	four     bool       // it has no other
	program  string     // of somebody else's, which runs
	mtu      int
	forward4 bool
	forward6 bool
	calls    int
	failAt   int
	failWith error
	writes   uint64
	watchers map[int]func(kernel.Loss)
	watchID  int
	changed  chan struct{} // closed when a place changes
}

var (
	_ kernel.Host       = (*Kernel)(nil)
	_ kernel.Namespaces = (*Kernel)(nil)
)

// inside is what a namespace holds.
type inside struct {
	parked     map[string]string // link → the host's end of it
	interfaces map[string]kernel.Interface
	resolver   uint16
	further    bool // addresses of the resolver
	loUp       bool
}

// New returns a machine with an uplink eth0 of 1500 bytes.
func New() *Kernel {
	return &Kernel{
		links:    map[string]kernel.Link{},
		inside:   map[uint64]*inside{},
		places:   map[string]uint64{},
		reach:    map[netip.Prefix]kernel.Reach{},
		next:     hostInode + 1,
		uplink:   "eth0",
		address:  uplink4,
		mtu:      1500,
		watchers: map[int]func(kernel.Loss){},
		changed:  make(chan struct{}),
	}
}

// FailAt makes the n-th call from now fail with err, before it has done
// anything; n = 0 makes none fail.
func (k *Kernel) FailAt(n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failAt, k.failWith = 0, err
	if n > 0 {
		k.failAt = k.calls + n
	}
}

// Failed reports whether the call that FailAt chose has come.
func (k *Kernel) Failed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failAt != 0 && k.calls >= k.failAt
}

// Calls returns how many calls there were that FailAt can make fail.
func (k *Kernel) Calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

// Writes returns how many changes were made: a call that finds all right
// makes none.
func (k *Kernel) Writes() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writes
}

// wrote counts a change. k.mu is held.
func (k *Kernel) wrote(ctx context.Context) {
	k.writes++
	if n := kernel.Writes(ctx); n != nil {
		n.Add(1)
	}
}

// Uplink sets what DefaultLink answers.
func (k *Kernel) Uplink(name string, mtu int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.uplink, k.mtu = name, mtu
}

// AddRoute gives the host a route of somebody else's.
func (k *Kernel) AddRoute(p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.routes = append(k.routes, p)
}

// call begins a call: it takes the lock, and tells whether to fail. The
// caller unlocks in any case.
func (k *Kernel) call(ctx context.Context) error {
	k.mu.Lock()
	if err := ctx.Err(); err != nil {
		return err
	}
	k.calls++
	if k.calls == k.failAt {
		return k.failWith
	}
	return nil
}
