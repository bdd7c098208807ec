package names

import "sync/atomic"

// Counts says what the resolver has done so far, for all sandboxes that there
// are and were.
type Counts struct {
	Queries   uint64 // that came in
	Cached    uint64 // of these, answered from the cache
	Forwarded uint64 // sent upstream, or merged with one that was
	Failed    uint64 // answered SERVFAIL, for want of an answer or of room
}

func (c *Counts) add(d Counts) {
	c.Queries += d.Queries
	c.Cached += d.Cached
	c.Forwarded += d.Forwarded
	c.Failed += d.Failed
}

// counters are one sandbox's, so that nobody shares them on the way of a
// query.
type counters struct {
	queries, cached, forwarded, failed atomic.Uint64
}

func (c *counters) read() Counts {
	return Counts{c.queries.Load(), c.cached.Load(), c.forwarded.Load(), c.failed.Load()}
}

// Counts returns what the resolver has done so far.
func (n *Names) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.past
	for _, s := range n.sandboxes {
		all.add(s.counts.read())
	}
	return all
}
