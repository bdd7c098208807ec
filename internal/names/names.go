package names

import (
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/catenet/catenet"
)

// Options say where Names finds its surroundings. The zero value is the
// host's.
type Options struct {
	Log *slog.Logger // nil: slog.Default
	// ResolvConf is the host's resolv.conf ("" is /etc/resolv.conf),
	// StubResolvConf the file in which systemd-resolved names the servers
	// behind its stub ("" is /run/systemd/resolve/resolv.conf).
	ResolvConf     string
	StubResolvConf string
	Dialer         Dialer // nil: a net.Dialer
}

// Names is the resolver of all sandboxes. Its methods may be called at the
// same time by many.
type Names struct {
	log      *slog.Logger
	cache    *cache
	forward  *forwarder
	hostConf hostSource
	slow     chan struct{} // a place for each query on the slow way
	batches  sync.Pool     // of *batch, which idle sandboxes do not need

	mu        sync.Mutex
	closed    bool
	networks  map[string]*network
	endpoints map[string]placed
	sandboxes map[string]*sandbox
	inherited map[string]Handed // by sandbox, until it resumes
	sets      map[string]*upstreams
	lastSet   uint64
	past      Counts // of sandboxes that are no more
}

// network is one network as it is now. It is replaced, never changed; the
// table stays the same.
type network struct {
	suffix   string // its name as in query.name
	internal bool
	table    *table
}

// placed is an endpoint's record and where it is.
type placed struct {
	table *table
	host  *host
}

// New returns a resolver that serves nobody yet.
func New(o Options) *Names {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.StubResolvConf == "" {
		o.StubResolvConf = "/run/systemd/resolve/resolv.conf"
	}
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	c := newCache()
	return &Names{
		log:       o.Log,
		cache:     c,
		forward:   newForwarder(o.Log, o.Dialer, c),
		hostConf:  hostSource{path: o.ResolvConf, stubPath: o.StubResolvConf},
		slow:      make(chan struct{}, slowInAll),
		batches:   sync.Pool{New: newBatch},
		networks:  map[string]*network{},
		endpoints: map[string]placed{},
		sandboxes: map[string]*sandbox{},
		inherited: map[string]Handed{},
		sets:      map[string]*upstreams{},
	}
}

// SetNetwork makes a network known, or renames it. Sandboxes whose networks
// are all internal are forwarded nothing.
func (n *Names) SetNetwork(id, name string, internal bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &network{suffix: encodeName(name), internal: internal}
	if old := n.networks[id]; old != nil {
		w.table = old.table
	} else {
		w.table = newTable()
	}
	n.networks[id] = w
	n.recompile(id)
}

// RemoveNetwork forgets a network and its records. An unknown one is no
// error.
func (n *Names) RemoveNetwork(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.networks[id]
	if w == nil {
		return
	}
	delete(n.networks, id)
	maps.DeleteFunc(n.endpoints, func(_ string, p placed) bool { return p.table == w.table })
	n.recompile(id)
}

// recompile renews the views of the sandboxes that see a network. n.mu is
// held.
func (n *Names) recompile(network string) {
	for _, s := range n.sandboxes {
		if slices.Contains(s.conf.Networks, network) {
			n.setView(s, s.conf)
		}
	}
}

// Put makes an endpoint's names known, in place of those that it had: nobody
// sees a state between. It costs as much as the record has names (and where
// an alias is shared, as it has owners), however many records there are.
func (n *Names) Put(r Record) error {
	h, bad := newHost(r)
	if len(bad) > 0 {
		n.log.Warn("names that cannot be asked for", "endpoint", r.EndpointID, "names", bad)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.networks[r.NetworkID]
	if w == nil {
		return catenet.NotFoundf("put names: no network %s", catenet.ShortID(r.NetworkID))
	}
	old, ok := n.endpoints[r.EndpointID]
	if ok && old.table != w.table {
		old.table.swap(old.host, nil)
		old.host = nil
	}
	w.table.swap(old.host, h)
	n.endpoints[r.EndpointID] = placed{w.table, h}
	return nil
}

// Delete forgets an endpoint's names. An unknown one is no error.
func (n *Names) Delete(endpointID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.endpoints[endpointID]; ok {
		p.table.swap(p.host, nil)
		delete(n.endpoints, endpointID)
	}
}

// Close stops serving every sandbox, breaks off what is asked upstream, and
// waits until all of it has ended.
func (n *Names) Close() error {
	n.mu.Lock()
	n.closed = true
	ids := slices.Collect(maps.Keys(n.sandboxes))
	n.mu.Unlock()
	n.Disinherit()
	n.forward.cancel()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { n.Stop(id) })
	}
	wg.Wait()
	n.forward.flying.Wait()
	return nil
}
