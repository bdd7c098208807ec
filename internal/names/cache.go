package names

import (
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the cache of all upstream sets together.
const (
	cacheEntries = 32768
	cacheBytes   = 16 << 20
)

// cache keeps replies by question and upstream set. What has to go is chosen
// as SIEVE does (Zhang et al., NSDI 2024): a hand goes from the oldest entry
// to the newest and takes the first that was not used since it came by; so a
// hit writes nothing but a flag, and a flood of new names passes through
// without washing out those in use.
type cache struct {
	mu       sync.RWMutex
	items    map[string]*item
	new, old *item // ends of the list
	hand     *item
	bytes    int
}

type item struct {
	key          string
	reply        *reply
	used         atomic.Bool
	newer, older *item
}

func newCache() *cache { return &cache{items: map[string]*item{}} }

// get returns the reply that is kept for a key and has not expired, or nil.
func (c *cache) get(key []byte, now time.Time) *reply {
	c.mu.RLock()
	defer c.mu.RUnlock()
	it := c.items[string(key)]
	if it == nil || it.reply.expired(now) {
		return nil
	}
	if !it.used.Load() {
		it.used.Store(true)
	}
	return it.reply
}

// put keeps a reply for as long as it says, or until the room is needed.
func (c *cache) put(key string, r *reply) {
	size := len(key) + r.size()
	if r.ttl == 0 || size > cacheBytes/64 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.items[key]; it != nil {
		c.remove(it)
	}
	for len(c.items) >= cacheEntries || c.bytes+size > cacheBytes {
		c.evict(r.at)
	}
	it := &item{key: key, reply: r, older: c.new}
	if c.new != nil {
		c.new.newer = it
	} else {
		c.old = it
	}
	c.new = it
	c.items[key] = it
	c.bytes += size
}

// evict takes one entry out. There is one.
func (c *cache) evict(now time.Time) {
	it := c.hand
	if it == nil {
		it = c.old
	}
	for it.used.Load() && !it.reply.expired(now) {
		it.used.Store(false)
		if it = it.newer; it == nil {
			it = c.old
		}
	}
	c.hand = it.newer
	c.remove(it)
}

func (c *cache) remove(it *item) {
	if c.hand == it {
		c.hand = it.newer
	}
	if it.newer != nil {
		it.newer.older = it.older
	} else {
		c.new = it.older
	}
	if it.older != nil {
		it.older.newer = it.newer
	} else {
		c.old = it.newer
	}
	delete(c.items, it.key)
	c.bytes -= len(it.key) + it.reply.size()
}
