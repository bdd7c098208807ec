package engine

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/catenet/catenet"
)

// eventBacklog is how many events a listener may be behind before it is cut
// off: it is told so by the end of its stream, and nobody waits for it.
const eventBacklog = 4096

// eventMemory is how many of the last events are remembered for who asks
// later, as with Docker.
const eventMemory = 256

// hub hands each event to every listener.
type hub struct {
	mu        sync.Mutex // guards what follows
	listeners map[*listener]struct{}
	past      []catenet.Event // the last ones, oldest first; never changed
	closed    bool
}

// listener is one stream of events.
type listener struct {
	ch     chan catenet.Event
	filter catenet.Filter
}

// Events returns a stream of what matches f: what has happened since then and
// is remembered, unless since is zero, and what happens from now on. It ends
// with ctx, with the engine, or when the listener is too slow.
func (e *Engine) Events(ctx context.Context, f catenet.Filter, since time.Time) (<-chan catenet.Event, error) {
	l := &listener{ch: make(chan catenet.Event, eventBacklog), filter: f}
	if !e.hub.add(l, since) {
		return nil, catenet.Errorf(catenet.KindUnavailable, "the daemon is closing")
	}
	context.AfterFunc(ctx, func() { e.hub.drop(l) })
	return l.ch, nil
}

func (h *hub) add(l *listener, since time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.listeners == nil {
		h.listeners = make(map[*listener]struct{})
	}
	h.listeners[l] = struct{}{}
	for _, ev := range h.past {
		if !since.IsZero() && !ev.Time.Before(since) {
			h.hand(l, ev)
		}
	}
	return true
}

func (h *hub) drop(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.listeners[l]; ok {
		delete(h.listeners, l)
		close(l.ch)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		close(l.ch)
	}
	h.listeners = nil
}

// tell sends an event. Attributes come in pairs; empty values are left out.
func (e *Engine) tell(typ, action, id string, attributes ...string) {
	h := &e.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	ev := catenet.Event{Time: time.Now(), Type: typ, Action: action, ID: id, Attributes: make(map[string]string)}
	for i := 0; i+1 < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			ev.Attributes[attributes[i]] = attributes[i+1]
		}
	}
	h.past = append(h.past[max(0, len(h.past)+1-eventMemory):], ev)
	for l := range h.listeners {
		h.hand(l, ev)
	}
}

// hand gives a listener an event of its own if it matches, or cuts it off.
// h.mu is held.
func (h *hub) hand(l *listener, ev catenet.Event) {
	if !l.filter.MatchEvent(ev) {
		return
	}
	ev.Attributes = maps.Clone(ev.Attributes)
	select {
	case l.ch <- ev:
	default:
		delete(h.listeners, l)
		close(l.ch)
	}
}
