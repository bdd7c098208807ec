package etcdtest

import (
	"context"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// watch is one Watch of a client. It reads the cluster's log by itself, and is only
// told when there is more.
type watch struct {
	more   chan struct{}
	broken bool
}

// nudge has the watch look again.
func (w *watch) nudge() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (cl *Client) breakWatches() {
	for w := range cl.watches {
		w.broken = true
		w.nudge()
	}
	clear(cl.watches)
}

// Watch tells of changes below a prefix.
func (cl *Client) Watch(ctx context.Context, prefix string, after int64) <-chan etcd.Batch {
	out := make(chan etcd.Batch)
	go func() {
		defer close(out)
		w, err := cl.open(ctx, after)
		for b := (etcd.Batch{Err: err}); ctx.Err() == nil; b = cl.read(w, prefix, &after) {
			if b.Err != nil || len(b.Events) > 0 {
				select {
				case out <- b:
				case <-ctx.Done():
				}
			}
			if b.Err != nil {
				return
			}
			select {
			case <-w.more:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// open makes a watch, which has something to read at once.
func (cl *Client) open(ctx context.Context, after int64) (*watch, error) {
	w := &watch{more: make(chan struct{}, 1)}
	w.nudge()
	return w, cl.ask(ctx, "Watch", func(c *Cluster) error {
		if after > c.state.revision {
			return catenet.Errorf(catenet.KindUnavailable, "etcd is at revision %d, and was at %d", c.state.revision, after)
		}
		cl.watches[w] = true
		return nil
	})
}

// read returns what there is after a revision, which it moves on.
func (cl *Client) read(w *watch, prefix string, after *int64) (b etcd.Batch) {
	c := cl.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case w.broken:
		return etcd.Batch{Err: cl.away()}
	case *after < c.compacted:
		return etcd.Batch{Err: etcd.ErrCompacted}
	}
	for _, e := range c.log {
		if e.Revision > *after && strings.HasPrefix(e.Key, prefix) {
			b.Events = append(b.Events, e)
		}
	}
	*after = c.state.revision
	return b
}
