package etcdtest

import (
	"context"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// patience is how long a call without an answer takes.
const patience = 5 * time.Second

// Client is one connection to a cluster. Its fields are guarded by the cluster's
// lock.
type Client struct {
	cluster *Cluster
	watches map[*watch]bool
	cut     bool
	lose    int
	delay   time.Duration
	calls   map[string]int
}

var _ etcd.Store = (*Client)(nil)

// Cut cuts the connection, or ends that.
func (cl *Client) Cut(cut bool) {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	cl.cut = cut
	if cut {
		cl.breakWatches()
	}
}

// Break ends the watches, as a connection does that is made anew at once.
func (cl *Client) Break() {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	cl.breakWatches()
}

// LoseAnswers has the next n writes carried out and not answered.
func (cl *Client) LoseAnswers(n int) {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	cl.lose = n
}

// Delay makes every call take that long.
func (cl *Client) Delay(d time.Duration) {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	cl.delay = d
}

// Calls returns how often each method was called, and forgets it.
func (cl *Client) Calls() map[string]int {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	calls := cl.calls
	cl.calls = nil
	return calls
}

func (cl *Client) count(method string) {
	if cl.calls == nil {
		cl.calls = map[string]int{}
	}
	cl.calls[method]++
}

// away is what a caller hears who is not answered.
func (cl *Client) away() error {
	return catenet.Errorf(catenet.KindUnavailable, "etcd does not answer")
}

// ask carries out one call: with the lock held, and after the time it takes.
func (cl *Client) ask(ctx context.Context, method string, do func(c *Cluster) error) error {
	c := cl.cluster
	c.mu.Lock()
	cl.count(method)
	delay, gone := cl.delay, cl.cut || c.down
	c.mu.Unlock()
	if delay > patience || gone {
		delay, gone = patience, true
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return cl.away()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if gone || cl.cut || c.down || ctx.Err() != nil {
		return cl.away()
	}
	err := do(c)
	if cl.lose > 0 && (method == "Put" || method == "Delete" || method == "Revoke") {
		cl.lose--
		return cl.away()
	}
	return err
}

// Get returns one pair.
func (cl *Client) Get(ctx context.Context, key string) (p etcd.Pair, err error) {
	err = cl.ask(ctx, "Get", func(c *Cluster) error {
		var ok bool
		if p, ok = c.state.pairs[key]; !ok {
			return catenet.NotFoundf("etcd has no key %s", key)
		}
		return nil
	})
	return p, err
}

// List returns all pairs below a prefix.
func (cl *Client) List(ctx context.Context, prefix string) (pairs []etcd.Pair, revision int64, err error) {
	err = cl.ask(ctx, "List", func(c *Cluster) error {
		pairs, revision = c.below(prefix), c.state.revision
		return nil
	})
	return pairs, revision, err
}

// Grant makes a lease, or has it begin anew.
func (cl *Client) Grant(ctx context.Context, lease etcd.LeaseID, ttl time.Duration) error {
	return cl.ask(ctx, "Grant", func(c *Cluster) error { return c.grant(lease, ttl) })
}

// Revoke ends a lease.
func (cl *Client) Revoke(ctx context.Context, lease etcd.LeaseID) error {
	return cl.ask(ctx, "Revoke", func(c *Cluster) error {
		c.expire(lease)
		return nil
	})
}

// Put writes a pair whose key is at a revision.
func (cl *Client) Put(ctx context.Context, key, value string, at int64, lease etcd.LeaseID) (revision int64, err error) {
	err = cl.ask(ctx, "Put", func(c *Cluster) error {
		if c.state.pairs[key].Revision != at {
			return catenet.Conflictf("somebody else has changed %s", key)
		}
		if _, ok := c.state.leases[lease]; lease != 0 && !ok {
			return catenet.Errorf(catenet.KindUnavailable, "the lease has ended")
		}
		revision = c.put(key, value, lease)
		return nil
	})
	return revision, err
}

// Delete deletes a pair whose key is at a revision.
func (cl *Client) Delete(ctx context.Context, key string, at int64) error {
	return cl.ask(ctx, "Delete", func(c *Cluster) error {
		if p, ok := c.state.pairs[key]; !ok || p.Revision != at {
			return catenet.Conflictf("somebody else has changed %s", key)
		}
		c.drop(key)
		return nil
	})
}

// Close ends the watches, and all calls to come.
func (cl *Client) Close() error {
	cl.Cut(true)
	return nil
}
