package names

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Times of a question that goes upstream.
const (
	// hedge is how long a server is given before the next one is asked too.
	hedge = 150 * time.Millisecond
	// again is how long after the last server of a round the next round
	// begins: a datagram may have been lost.
	again = time.Second
	// patience is when we give up: before the client does, which with the C
	// library's usual 5 s would send its question a second time.
	patience = 4 * time.Second
	rounds   = 3
	// doubt is how long a server is given to know a name of which one listed
	// after it says that there is none.
	doubt = 500 * time.Millisecond
)

var errNoAnswer = errors.New("no server answered in time")

// forwarder asks upstream.
type forwarder struct {
	log    *slog.Logger
	dialer Dialer
	cache  *cache
	ctx    context.Context // of all flights: they belong to nobody in particular
	cancel context.CancelFunc
	flying sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*flight
}

// flight is one question on its way, however many wait for it.
type flight struct {
	done  chan struct{}
	reply *reply // nil: it failed. Set before done is closed
}

func newForwarder(log *slog.Logger, d Dialer, c *cache) *forwarder {
	f := &forwarder{log: log, dialer: d, cache: c, flights: map[string]*flight{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// fetch returns the servers' answer to q, or nil if there is none. Whoever
// asks the same while it is under way waits for the same answer; a flight
// goes on when those who wait for it leave.
func (f *forwarder) fetch(ctx context.Context, s *upstreams, q *query) *reply {
	key := string(s.appendKey(nil, q))
	f.mu.Lock()
	fl := f.flights[key]
	if fl == nil {
		if r := f.cache.get([]byte(key), time.Now()); r != nil { // landed since the caller looked
			f.mu.Unlock()
			return r
		}
		fl = &flight{done: make(chan struct{})}
		f.flights[key] = fl
		own := *q
		f.flying.Go(func() { f.fly(fl, key, s, &own) })
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.reply
	case <-ctx.Done():
		return nil
	}
}

func (f *forwarder) fly(fl *flight, key string, s *upstreams, q *query) {
	ctx, cancel := context.WithTimeout(f.ctx, patience)
	defer cancel()
	r, err := f.race(ctx, s, q)
	if err != nil {
		f.log.Debug("cannot resolve upstream", "servers", s.key, "err", err)
	} else if !s.fickle {
		f.cache.put(key, r)
	}
	fl.reply = r
	f.mu.Lock()
	delete(f.flights, key)
	f.mu.Unlock()
	close(fl.done)
}
