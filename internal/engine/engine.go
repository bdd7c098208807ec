// Package engine is the middle of catenet: it turns a request into networks,
// endpoints and published ports, and keeps them true.
//
// A request travels one way:
//
//	validate → allocate → record the intent → apply → commit → tell
//
// Everything that a sandbox has is one immutable record. A change makes the
// next record, and one function (transition, in transition.go) takes the
// kernel from the present record to the next: it serves attach, connect,
// disconnect, and the restore after a crash alike. The store holds both
// records while that happens, so a daemon that dies in between goes back to
// the present one at its next start.
//
//	sandbox.go     attach and remove; container.go: containers of our own
//	claim.go       subnets and (lease.go) addresses that are promised ahead
//	parked.go      namespaces that come late and are furnished by others
//	plan.go        what the next record is: addresses, names, default routes
//	transition.go  from one record to the next, undone if it fails
//	restore.go     a start: records to kernel, and orphans away
//	sweep.go       what nobody knows goes
//	span.go        networks of several hosts: this host's part, and the others
//	handback.go     a part that is nobody's any more is given back
//	repair.go      what somebody else took away is put back
//	containerlink.go  what --link leads to; linkcheck.go: whether it may, linkenv.go: what is told
//	reaper.go      links are removed behind the caller's back, in batches
package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/names"
	"github.com/catenet/catenet/internal/store"
)

// Firewall is what the engine needs of the firewall's room.
type Firewall interface {
	Apply(ctx context.Context, c firewall.Change) error
	Restore(ctx context.Context, networks []firewall.Network, ports []firewall.Port, links ...firewall.Link) error
	Look(ctx context.Context) error
	Obstacles(ctx context.Context) ([]catenet.Obstacle, error)
}

// Options are the engine's surroundings. All fields but those that say
// otherwise are needed.
type Options struct {
	RunDir, StateDir string
	Log              *slog.Logger
	Store            *store.Store
	Host             kernel.Host
	Namespaces       kernel.Namespaces
	Mounts           kernel.Mounts
	Sockets          kernel.Sockets
	Loopback         kernel.Loopback
	Flows            kernel.Flows
	Processes        kernel.Processes
	Logs             LogReader
	Firewall         Firewall
	Names            *names.Names
	Drivers          []driver.Driver
	Pools            []catenet.AddressPool // nil: Docker's
	Info             catenet.Info          // what does not change while we run
	// Files returns an error if the daemon may not have so many files open;
	// nil: nobody asks.
	Files func(n int) error
	// Reunion is how long a container that removes itself at its end stays
	// after a start if an earlier daemon has started it: whoever waits for
	// its end and its log has to find the way back first.
	Reunion time.Duration
	// Progress, unless nil, is told how far something is that may take a
	// while: what is done, and of how much. Those who do it tell side by side,
	// so not in order.
	Progress func(doing string, done, of int)
	// EtcNetns is where ip-netns(8) finds the files of a named namespace; ""
	// is /etc/netns.
	EtcNetns string
}

// LogReader reads the log that a container's shim writes.
// Following, it goes on until ended is closed and the log has no more.
type LogReader func(ctx context.Context, path string, o catenet.LogOptions, ended <-chan struct{},
	emit func(stream string, t time.Time, line []byte) error) error

// Engine keeps the networks of one host. Its methods are safe for concurrent
// use. Locks are taken in this order: a network's op, a sandbox's op, linking, leasing, mu.
type Engine struct {
	o       Options
	log     *slog.Logger
	drivers map[string]driver.Driver
	hub     hub
	reaper  *reaper

	born   time.Time       // when it was made
	ctx    context.Context // ends with the engine: for what outlives a request
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	leasing sync.Mutex // held while leases and claims change; before mu. Writers of Engine.claims hold both
	taking  sync.Mutex // held while a network of several hosts takes its part; before mu
	linking sync.Mutex // held while it is worked out what links lead to; before mu

	mu        sync.Mutex // guards what follows, and all records and pools
	networks  map[string]*network
	handbacks map[string]*handback // by network
	claims    map[netip.Prefix]*claim
	sandboxes map[string]*sandbox
	linkers   map[string]*sandbox              // those whose names are known and that have links
	unheld    map[string][]catenet.PortBinding // by sandbox: published, and held by somebody else

	madeEtcNetns atomic.Bool // Options.EtcNetns was not there before us
	written      string      // the host's DNS settings in the files of sandboxes; keepTrue's alone
}

// network is one network in memory.
type network struct {
	catenet.Network
	driver driver.Driver
	op     sync.Mutex // held while its own links are made or removed, and its record is changed
	pools  []*ipam.Pool
	leases map[netip.Addr]catenet.Lease
	coming struct { // what an update is about to give it, and nobody else gets
		name  string
		pools []catenet.Pool
	}
	was      string // its earlier name, while records may have that still
	state    driver.State
	members  map[string]string // endpoint ID → sandbox ID
	removing bool              // refuses new members
	ready    bool              // visible to requests
	down     error             // why it is not up, else nil; tried again by repair
	lingers  error             // removed, and why links or rules are still there; likewise
	handback *handback         // what is to be given back of it once nothing is there; nil: nothing
	span     *span             // of one that reaches over several hosts, while it is kept; else nil
}

// sandbox is one sandbox in memory.
type sandbox struct {
	id string
	op sync.Mutex // held while its kernel side changes

	// Guarded by Engine.mu.
	now    *record                // nil while it is being made
	named  *record                // by which it is known to others; nil: it is not
	name   string                 // taken from the moment the request is accepted
	coming string                 // the name that it is about to have, and nobody else gets meanwhile
	aims   []catenet.EndpointSpec // whose links are about to be its own
	inode  uint64                 // of the namespace that it was attached to
	ended  chan struct{}          // closed when the present run has ended
	exit   int                    // how it ended, also after the sandbox is gone

	inherited bool     // an earlier daemon started it
	ailment   *ailment // why it is not as its record says, else nil

	open map[firewall.Link]bool // what its links open in the firewall; Engine.linking guards it

	// Guarded by op.
	held    map[portKey]kernel.Held
	serves  bool               // the resolver's sockets are open
	unwatch context.CancelFunc // stops the goroutine that waits for its end
}

// New makes an engine; Restore brings it to life.
func New(o Options) *Engine {
	o.EtcNetns = cmp.Or(o.EtcNetns, "/etc/netns")
	ctx, cancel := context.WithCancel(context.Background())
	e := &Engine{
		o: o, log: o.Log, born: time.Now(), ctx: ctx, cancel: cancel,
		drivers:   make(map[string]driver.Driver),
		networks:  make(map[string]*network),
		handbacks: make(map[string]*handback),
		claims:    make(map[netip.Prefix]*claim),
		sandboxes: make(map[string]*sandbox),
		linkers:   make(map[string]*sandbox),
		unheld:    make(map[string][]catenet.PortBinding),
	}
	for _, d := range o.Drivers {
		e.drivers[d.Name()] = d
	}
	e.reaper = newReaper(ctx, o.Log, func(ctx context.Context, eps []catenet.Endpoint) error {
		return e.unlink(ctx, driver.Place{}, eps...)
	})
	return e
}

// Close ends the engine and waits for its tasks. Containers, links and rules
// stay: the next start finds them.
func (e *Engine) Close() error {
	e.cancel()
	e.hub.close()
	e.tasks.Wait()
	e.standAside(context.Background())
	e.reaper.wait()
	e.mu.Lock()
	all := make([]*sandbox, 0, len(e.sandboxes))
	for _, sb := range e.sandboxes {
		all = append(all, sb)
	}
	e.mu.Unlock()
	var errs []error
	for _, sb := range all {
		sb.op.Lock()
		for key, h := range sb.held {
			errs = append(errs, h.Close())
			delete(sb.held, key)
		}
		sb.op.Unlock()
	}
	return errors.Join(errs...)
}

// goTask runs fn beside the engine; Close waits for it.
func (e *Engine) goTask(fn func(ctx context.Context)) {
	e.tasks.Add(1)
	go func() {
		defer e.tasks.Done()
		fn(e.ctx)
	}()
}

// locked runs fn with e.mu held.
func (e *Engine) locked(fn func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fn()
}

// Places of a sandbox, all below the run folder.
func (e *Engine) netnsPath(id string) string { return filepath.Join(e.netnsDir(), id) }
func (e *Engine) netnsDir() string           { return filepath.Join(e.o.RunDir, "netns") }
func (e *Engine) filesDir(id string) string  { return filepath.Join(e.o.RunDir, "sandboxes", id) }
func (e *Engine) processDir(id string) string {
	return filepath.Join(e.o.RunDir, "containers", id)
}

// logPath is on the durable side: a log outlives a power cut.
func (e *Engine) logPath(id string) string {
	return filepath.Join(e.o.StateDir, "containers", id, "log")
}

var _ io.Closer = (*Engine)(nil)
