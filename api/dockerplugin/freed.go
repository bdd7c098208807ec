package dockerplugin

import (
	"context"
	"maps"
	"sync"

	"github.com/catenet/catenet"
)

// wanting are the sandboxes, by ID, of containers whose name in Docker somebody
// else has.
type wanting struct {
	mu    sync.Mutex // guards what follows
	names map[string]string
}

// call gives a sandbox the name that its container has in Docker, now, or else once
// that is free.
func (p *Plugin) call(ctx context.Context, sandbox, name string) error {
	p.nameless.set(sandbox, name) // before it is tried: who frees it meanwhile finds it
	_, err := p.o.Engine.UpdateSandbox(ctx, sandbox, catenet.SandboxUpdate{Name: &name})
	if !catenet.IsConflict(err) {
		p.nameless.drop(sandbox)
	}
	return err
}

// callAgain gives names that become free to who wanted them, until there are no more
// events.
func (p *Plugin) callAgain(ctx context.Context, events <-chan catenet.Event) {
	for ev := range events {
		freed := ev.Attributes["name"]
		if ev.Action == "rename" {
			freed = ev.Attributes["oldName"]
		}
		for sandbox, name := range p.nameless.all() {
			if name == freed {
				p.note("container", gone(p.call(ctx, sandbox, name)))
			}
		}
	}
}

// gone is no error for a container that has ended meanwhile.
func gone(err error) error {
	if catenet.IsNotFound(err) {
		return nil
	}
	return err
}

func (w *wanting) set(sandbox, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = make(map[string]string)
	}
	w.names[sandbox] = name
}

func (w *wanting) drop(sandbox string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.names, sandbox)
}

func (w *wanting) all() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.names)
}
