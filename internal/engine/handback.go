package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/store"
)

// courtesy is how long who removes a network waits for its part to be given back;
// then that is done without him.
const courtesy = time.Second

// handback is a part of a network of several hosts that is nobody's on this one any
// more, or was never anybody's: it is to be given back. It is on record from right
// before it is taken until there is a network on record that has it, and again from
// when there is none until it is given back.
type handback struct {
	// Network is the one that it was for, with the part if that was known.
	catenet.Network
	// Since is when it was on record last that somebody has it, or will.
	Since time.Time `json:"since"`

	tried   chan struct{} // closed once it was tried to give it back
	trouble error         // why it is not given back yet; nil: that was not tried yet. Engine.mu guards it
}

// text is what people are told.
func (p *handback) text() string {
	return fmt.Sprintf("network %s is gone here, and this host's part of it is not given back yet, which is tried on: %v", p.Name, p.trouble)
}

// keepHandback puts a part on record that is about to be taken.
func (e *Engine) keepHandback(n catenet.Network) (*handback, error) {
	p := &handback{Network: n, Since: time.Now()}
	err := e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Put(kindHandback, p.ID, p) })
	if err != nil {
		return nil, fmt.Errorf("record that network %s takes a part: %w", n.Name, err)
	}
	return p, nil
}

// handBack gives a part back, and tries on until that is done or the part has lapsed.
func (e *Engine) handBack(p *handback) {
	p.tried = make(chan struct{})
	e.locked(func() { e.handbacks[p.ID] = p })
	e.goTask(func(ctx context.Context) {
		done := e.tryHandBack(ctx, p)
		close(p.tried)
		for wait := rewatch; !done && ctx.Err() == nil; wait = min(2*wait, patience) {
			sleep(ctx, wait)
			done = e.tryHandBack(ctx, p)
		}
	})
}

// tryHandBack reports whether nothing is left to be done.
func (e *Engine) tryHandBack(ctx context.Context, p *handback) bool {
	err := error(catenet.Unsupportedf("there is no driver %q in this build that could", p.Driver))
	if d, spans := e.drivers[p.Driver].(driver.Spanning); spans {
		err = d.Leave(ctx, p.Network)
	}
	if ctx.Err() != nil {
		return false
	}
	lapsed := err != nil && time.Since(p.Since) > driver.Lapse
	was := e.ailing(p, err)
	switch {
	case lapsed:
		e.log.Warn("this host's part of a network that is gone could not be given back; it ends by itself", "network", p.Name, "err", err)
	case err != nil && was == nil:
		e.log.Warn("this host's part of a network that is gone is not given back yet; trying on", "network", p.Name, "err", err)
	case err == nil && was != nil:
		e.log.Info("this host's part of a network that is gone is given back", "network", p.Name)
	}
	if err != nil && !lapsed {
		return false
	}
	e.report("forget a part that is given back", p.Name,
		e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Delete(kindHandback, p.ID) }))
	e.locked(func() { delete(e.handbacks, p.ID) })
	return true
}

// ailing notes why a part is not given back yet, and returns what was noted before.
func (e *Engine) ailing(p *handback, err error) (was error) {
	e.locked(func() { was, p.trouble = p.trouble, err })
	return was
}

// awaitHandback waits until a part is given back, or for as long as is courteous, and
// returns what people should know about it then.
func (e *Engine) awaitHandback(p *handback) (warnings []string) {
	select {
	case <-p.tried:
	case <-time.After(courtesy):
		e.locked(func() {
			if p.trouble == nil {
				p.trouble = errors.New("nobody has answered so far")
			}
		})
	}
	e.locked(func() {
		if e.handbacks[p.ID] == p && p.trouble != nil {
			warnings = append(warnings, p.text())
		}
	})
	return warnings
}

// loadHandbacks reads which parts are to be given back, and takes down what may be left
// of their networks. Where there is a network of their span that was done before that
// was made, and what is there is that one's.
func (e *Engine) loadHandbacks(ctx context.Context) error {
	all, err := store.Load[*handback](e.o.Store, store.Durable, kindHandback)
	if err != nil {
		return fmt.Errorf("read parts of networks: %w", err)
	}
	for id, p := range all {
		if e.networks[id] != nil {
			e.log.Error("a part is on record as a network's and as to be given back: it is kept", "network", p.Name)
			continue
		}
		e.handbacks[id] = p
		if d := e.drivers[p.Driver]; d != nil && p.Part != nil && apart(p.Part.Span, e.neighbours(nil)) == nil {
			e.report("take down network", p.Name, d.Down(ctx, e.o.Host, p.Network))
		}
	}
	return nil
}

// Forsake gives back the parts of all networks on record, once, in place of Restore:
// nobody will keep them any more, and who cannot be asked will find out by himself.
func (e *Engine) Forsake(ctx context.Context) error {
	if err := e.loadHandbacks(ctx); err != nil {
		return err
	}
	entries, err := store.Load[networkEntry](e.o.Store, store.Durable, kindNetwork)
	if err != nil {
		return fmt.Errorf("read networks: %w", err)
	}
	for id, n := range entries {
		if d := e.drivers[n.Driver]; d != nil && n.Part != nil {
			e.handbacks[id] = &handback{Network: n.Network, Since: time.Now()}
			e.report("take down network", n.Name, d.Down(ctx, e.o.Host, n.Network))
		}
	}
	for _, p := range e.handbacks {
		p.Since = time.Time{} // long ago: nobody will try again
		e.tryHandBack(ctx, p)
	}
	return nil
}
