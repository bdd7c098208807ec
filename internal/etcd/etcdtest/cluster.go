// Package etcdtest has an etcd in memory, for tests of those who use a store, and
// the suite that it passes as the real one does. Its time is the test's: in a
// bubble of testing/synctest a day of leases takes no time.
package etcdtest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// Cluster is the servers' side. Its clients are stores.
type Cluster struct {
	mu        sync.Mutex
	state     Snapshot
	compacted int64        // the oldest revisions are forgotten, up to this one
	log       []etcd.Event // what has changed since
	timers    map[etcd.LeaseID]*time.Timer
	clients   []*Client
	down      bool
}

// Snapshot is what a cluster can be restored to.
type Snapshot struct {
	revision int64
	pairs    map[string]etcd.Pair
	leases   map[etcd.LeaseID]time.Duration // what each was granted for
}

func (s Snapshot) clone() Snapshot {
	return Snapshot{s.revision, maps.Clone(s.pairs), maps.Clone(s.leases)}
}

// New returns a cluster without keys, at revision 1 as a new etcd is.
func New() *Cluster {
	return &Cluster{
		state:  Snapshot{1, map[string]etcd.Pair{}, map[etcd.LeaseID]time.Duration{}},
		timers: map[etcd.LeaseID]*time.Timer{},
	}
}

// Client returns a connection of its own.
func (c *Cluster) Client() *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := &Client{cluster: c, watches: map[*watch]bool{}}
	c.clients = append(c.clients, cl)
	return cl
}

// Stop makes the cluster answer nobody; its leases' time stands still.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
}

func (c *Cluster) stop() {
	c.down = true
	for _, t := range c.timers {
		t.Stop()
	}
	for _, cl := range c.clients {
		cl.breakWatches()
	}
}

// Start ends Stop. As with etcd, all leases begin anew.
func (c *Cluster) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
}

func (c *Cluster) start() {
	c.down = false
	clear(c.timers)
	for id, ttl := range c.state.leases {
		c.arm(id, ttl)
	}
}

// Snapshot returns the cluster as it is.
func (c *Cluster) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.clone()
}

// Restore makes the cluster what it was, as a restart on a snapshot does: all
// connections end, and the revision falls.
func (c *Cluster) Restore(s Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
	c.state = s.clone()
	c.log, c.compacted = nil, s.revision
	c.start()
}

// Compact forgets all that was before now.
func (c *Cluster) Compact() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log, c.compacted = nil, c.state.revision
}

// Pairs returns what there is below a prefix, by key.
func (c *Cluster) Pairs(prefix string) []etcd.Pair {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.below(prefix)
}

// Leases returns how many leases there are.
func (c *Cluster) Leases() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state.leases)
}

// Force writes a pair whatever was there, as somebody with etcdctl does.
func (c *Cluster) Force(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, value, 0)
}

// Drop deletes a key, as somebody with etcdctl does.
func (c *Cluster) Drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
}

func (c *Cluster) below(prefix string) []etcd.Pair {
	var found []etcd.Pair
	for key, p := range c.state.pairs {
		if strings.HasPrefix(key, prefix) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b etcd.Pair) int { return strings.Compare(a.Key, b.Key) })
	return found
}

// put, drop and the like are called with the lock held.
func (c *Cluster) put(key, value string, lease etcd.LeaseID) int64 {
	c.state.revision++
	p := etcd.Pair{Key: key, Value: []byte(value), Created: c.state.revision, Revision: c.state.revision, Lease: lease}
	if old, ok := c.state.pairs[key]; ok {
		p.Created = old.Created
	}
	c.state.pairs[key] = p
	c.tell(etcd.Event{Pair: p})
	return p.Revision
}

func (c *Cluster) drop(keys ...string) {
	if len(keys) == 0 {
		return
	}
	c.state.revision++
	var gone []etcd.Event
	for _, key := range keys {
		delete(c.state.pairs, key)
		gone = append(gone, etcd.Event{Pair: etcd.Pair{Key: key, Revision: c.state.revision}, Deleted: true})
	}
	c.tell(gone...)
}

func (c *Cluster) tell(events ...etcd.Event) {
	c.log = append(c.log, events...)
	for _, cl := range c.clients {
		for w := range cl.watches {
			w.nudge()
		}
	}
}

func (c *Cluster) arm(id etcd.LeaseID, ttl time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(ttl, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timers[id] == t && !c.down {
			c.expire(id)
		}
	})
	c.timers[id] = t
}

func (c *Cluster) expire(id etcd.LeaseID) {
	if t := c.timers[id]; t != nil {
		t.Stop()
	}
	delete(c.timers, id)
	delete(c.state.leases, id)
	var keys []string
	for key, p := range c.state.pairs {
		if p.Lease == id {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	c.drop(keys...)
}

func (c *Cluster) grant(id etcd.LeaseID, ttl time.Duration) error {
	if ttl < time.Second || id <= 0 {
		return catenet.Errorf(catenet.KindUnavailable, "there can be no lease %d of %v", id, ttl)
	}
	if t := c.timers[id]; t != nil {
		t.Stop()
		ttl = c.state.leases[id]
	}
	c.state.leases[id] = ttl
	c.arm(id, ttl)
	return nil
}
