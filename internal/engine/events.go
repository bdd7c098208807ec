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

// hub hands each event to every listener.
type hub struct {
	mu        sync.Mutex
	listeners map[*listener]struct{} // guarded by mu
	closed    bool                   // guarded by mu
}

// listener is one stream of events.
type listener struct {
	ch     chan catenet.Event
	filter catenet.Filter
}

// Events returns a stream of what happens from now on and matches f. It ends
// with ctx, with the engine, or when the listener is too slow.
func (e *Engine) Events(ctx context.Context, f catenet.Filter) (<-chan catenet.Event, error) {
	l := &listener{ch: make(chan catenet.Event, eventBacklog), filter: f}
	if !e.hub.add(l) {
		return nil, catenet.Errorf(catenet.KindUnavailable, "the daemon is closing")
	}
	context.AfterFunc(ctx, func() { e.hub.drop(l) })
	return l.ch, nil
}

func (h *hub) add(l *listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.listeners == nil {
		h.listeners = make(map[*listener]struct{})
	}
	h.listeners[l] = struct{}{}
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
	if len(h.listeners) == 0 {
		return
	}
	ev := catenet.Event{Time: time.Now(), Type: typ, Action: action, ID: id, Attributes: make(map[string]string)}
	for i := 0; i+1 < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			ev.Attributes[attributes[i]] = attributes[i+1]
		}
	}
	for l := range h.listeners {
		if !l.filter.MatchEvent(ev) {
			continue
		}
		each := ev
		each.Attributes = maps.Clone(ev.Attributes)
		select {
		case l.ch <- each:
		default:
			delete(h.listeners, l)
			close(l.ch)
		}
	}
}
