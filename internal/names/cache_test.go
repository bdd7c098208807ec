package names

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func testReply(size int, ttl uint32, now time.Time) *reply {
	return &reply{msg: make([]byte, size), ttl: ttl, at: now}
}

// check walks the list and holds it against the map.
func (c *cache) check(t *testing.T) {
	t.Helper()
	n, bytes := 0, 0
	var last *item
	for it := c.old; it != nil; it = it.newer {
		if c.items[it.key] != it || it.older != last {
			t.Fatalf("%q is in the list but not in the map, or wrongly tied", it.key)
		}
		n, bytes, last = n+1, bytes+len(it.key)+it.reply.size(), it
	}
	if n != len(c.items) || bytes != c.bytes || last != c.new || n > cacheEntries || bytes > cacheBytes {
		t.Fatalf("%d entries of %d bytes in the list, %d of %d by the books", n, bytes, len(c.items), c.bytes)
	}
}

func TestCacheBounds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCache()
	for i := range cacheEntries + 1000 {
		c.put(fmt.Sprint("many", i), testReply(10, 60, now))
		if i == 5 {
			c.check(t)
		}
		c.get([]byte("many3"), now)
	}
	c.check(t)
	if len(c.items) != cacheEntries {
		t.Errorf("%d entries, want %d", len(c.items), cacheEntries)
	}
	if c.get([]byte("many3"), now) == nil {
		t.Error("what was in use has been washed out")
	}
	if c.get([]byte("many4"), now) != nil {
		t.Error("what was never used has stayed")
	}
	for i := range 1000 {
		c.put(fmt.Sprint("large", i), testReply(cacheBytes/64-1000, 60, now))
	}
	c.check(t)
	if len(c.items) > 100 {
		t.Errorf("%d entries, although 64 large ones fill the room", len(c.items))
	}
	c.put("huge", testReply(cacheBytes/64, 60, now))
	if c.get([]byte("huge"), now) != nil {
		t.Error("an entry took more than its share")
	}
	c.put("large999", testReply(10, 60, now))
	c.check(t)
	if r := c.get([]byte("large999"), now); r == nil || len(r.msg) != 10 {
		t.Error("a newer answer did not take the place of the older")
	}
}

func TestCacheByMany(t *testing.T) {
	t.Parallel()
	c, now := newCache(), time.Now()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20000 {
				key := fmt.Sprint((i*7 + g) % 50000)
				if c.get([]byte(key), now) == nil {
					c.put(key, testReply(1000, 60, now))
				}
			}
		})
	}
	wg.Wait()
	c.check(t)
}
