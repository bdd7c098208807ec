// Package link speaks rtnetlink(7): the links, addresses, routes and sysctls
// of the host and of the namespaces that containers live in, and the watch on
// them. It implements kernel.Host.
//
// Speed is a goal of its own here, because attaching a container is little
// else than this. Messages are written by hand and go to the kernel in
// batches: a veth is born enslaved, up, and with its peer already in the
// namespace; the inside is dressed in one visit with one batch. What exists
// is compared first, so that a second pass writes nothing.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// Redirect makes the thread's namespace send lookups where o says, or takes the
// redirect away if o.ResolverPort is 0; it is idempotent, and heeds
// kernel.Looking.
type Redirect func(ctx context.Context, o kernel.Outfit) error

// Host implements kernel.Host for the namespace it was opened in.
type Host struct {
	redirect   Redirect
	log        *slog.Logger
	home       *kernel.Namespace // where the host is
	away       bool              // home is not where the program's threads are
	six        bool              // the kernel has IPv6
	idle       chan *conn        // sockets in home that nobody uses now
	writes     atomic.Uint64
	noGateward atomic.Bool // the kernel refuses the filters of isolated ports

	pairs sync.Mutex // held while an end of a pair is moved

	mu       sync.Mutex          // guards what follows
	known    map[int]uint64      // nsid → inode of the namespaces dressed
	born     map[birth]*info     // insides of veths as they were born, until they are dressed
	watchers int                 // Watch calls running
	removing map[string]struct{} // links that DeleteLinks takes away, while somebody watches
}

var _ kernel.Host = (*Host)(nil)

// idleConns is how many sockets are kept for the next caller.
const idleConns = 8

// Open opens the host side in the namespace of the calling thread: the
// daemon's own, or one that a test is visiting. redirect may be nil for a
// host that never dresses with a resolver's port, log where nobody listens.
func Open(redirect Redirect, log *slog.Logger) (*Host, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open own namespace: %w", err)
	}
	away, err := isAway(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at own namespace: %w", err), f.Close())
	}
	h := &Host{
		redirect: redirect,
		log:      log,
		home:     &kernel.Namespace{Path: f.Name(), File: f},
		away:     away,
		six:      hasSix(),
		idle:     make(chan *conn, idleConns),
		known:    map[int]uint64{},
		born:     map[birth]*info{},
		removing: map[string]struct{}{},
	}
	c, err := dial() // now, so that a machine without netlink is noticed now
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	h.put(c)
	return h, nil
}

// isAway tells whether here is another namespace than that of the program's
// threads: of any that a new goroutine comes to run on, which are none that
// are on a visit. (The first thread, of /proc/self, may be on one.)
func isAway(here *os.File) (bool, error) {
	type stat struct {
		info os.FileInfo
		err  error
	}
	there := make(chan stat, 1)
	go func() {
		info, err := os.Stat("/proc/thread-self/ns/net")
		there <- stat{info, err}
	}()
	ours, err := here.Stat()
	theirs := <-there
	if err := errors.Join(err, theirs.err); err != nil {
		return false, err
	}
	return !os.SameFile(ours, theirs.info), nil
}

// Close closes the sockets. Calls must have ended.
func (h *Host) Close() error {
	for {
		select {
		case c := <-h.idle:
			c.close()
		default:
			return h.home.Close()
		}
	}
}

// Writes returns how many changes were asked of the kernel so far, by all.
func (h *Host) Writes() uint64 { return h.writes.Load() }

// count adds n changes, made for whoever has c.
func (h *Host) count(c *conn, n int) {
	h.writes.Add(uint64(n))
	if c.wrote != nil {
		c.wrote.Add(uint64(n))
	}
}

// with lends fn a socket on the host, and a thread there.
func (h *Host) with(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.there(func() (err error) {
		var c *conn
		select {
		case c = <-h.idle:
		default:
			if c, err = dial(); err != nil {
				return err
			}
		}
		defer h.put(c)
		c.wrote, c.looks = kernel.Writes(ctx), kernel.Looks(ctx)
		return fn(c)
	})
}

// there runs fn on a thread of the host's namespace.
func (h *Host) there(fn func() error) error {
	if h.away {
		return netns.Do(h.home, fn)
	}
	return fn()
}

func (h *Host) put(c *conn) {
	select {
	case h.idle <- c:
	default:
		c.close()
	}
}

// run sends a batch that changes something.
func (h *Host) run(c *conn, b *batch) ([]*refusal, error) {
	if c.looks && !b.empty() {
		return nil, catenet.Conflictf("it is not as it should be: left to do is to %s", b.whats[0])
	}
	h.count(c, len(b.whats))
	return c.run(b)
}

// remember notes by what number events will name a namespace.
func (h *Host) remember(c *conn, ns *kernel.Namespace) error {
	id, err := c.nsid(ns)
	if err != nil {
		return fmt.Errorf("number namespace %s: %w", ns.Path, err)
	}
	if id >= 0 { // -1: no link leads there
		h.mu.Lock()
		h.known[id] = ns.Inode
		h.mu.Unlock()
	}
	return nil
}
