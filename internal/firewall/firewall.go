package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// Backend is what the firewall needs of the kernel room: *nft.Conn, or in
// tests *nft.Memory.
type Backend interface {
	Caps() nft.Caps
	// Commit applies a batch in one transaction; on an error nothing has
	// changed.
	Commit(ctx context.Context, b nft.Batch) error
	// Dump returns those of the named tables that there are, sorted.
	Dump(ctx context.Context, refs ...nft.Ref) ([]nft.Table, error)
	// Watch calls changed when somebody else may have changed a table.
	Watch(ctx context.Context, refs []nft.Ref, changed func()) error
}

// Neighbours are the rulesets of others on this host: *foreign.Rules.
type Neighbours interface {
	// Obstacles returns what would swallow forwarded packets of ours.
	Obstacles(ctx context.Context) ([]foreign.Obstacle, error)
	// Allow keeps exactly these accepted in the foreign forward chains; with
	// nothing wanted, nothing of ours is left there.
	Allow(ctx context.Context, w foreign.Wanted) error
}

// Firewall keeps the kernel's ruleset as the networks and ports want it.
// Its methods are safe for concurrent use.
type Firewall struct {
	b   Backend
	n   Neighbours
	log *slog.Logger
	// every is how often Watch looks without being told to.
	every time.Duration

	mu    sync.Mutex
	want  *state
	allow bool           // AllowForward is in force
	asked foreign.Wanted // of the neighbours, last
}

// New returns a firewall that wants nothing yet. Restore comes before all
// else.
func New(b Backend, n Neighbours, log *slog.Logger) *Firewall {
	if !b.Caps().Bridge {
		log.Warn("this kernel has no nf_tables for bridges: router advertisements of containers are not stopped", "feature", "NF_TABLES_BRIDGE")
	}
	return &Firewall{b: b, n: n, log: log, every: 30 * time.Second, want: newState()}
}

// Apply makes one change, in one transaction however many ports it has.
// Adding what is there and removing what is not is no error; a port or
// network that is there with other properties is replaced. On an error
// nothing has changed.
func (f *Firewall) Apply(ctx context.Context, c Change) error {
	if err := c.validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after, undo := f.want.change(c)
	err := f.b.Commit(ctx, nft.Diff([]nft.Table{before}, []nft.Table{after}))
	if nft.IsStale(err) { // somebody was there before Watch could mend it
		f.log.Warn("the firewall is not as it was left, restoring all of it", "err", err)
		_, err = f.repair(ctx)
	}
	if err != nil {
		undo()
		return fmt.Errorf("change firewall: %w", err)
	}
	if !reflect.DeepEqual(f.wanted(), f.asked) {
		if err := f.ask(ctx); err != nil {
			f.log.Error("cannot keep our networks accepted in the forward chain of others", "err", err)
		}
	}
	return nil
}

// Restore makes these networks, ports and links all that is wanted, and the
// kernel so: in one transaction, so that nothing is open in between that is closed
// before and after. Tables that an earlier daemon left are taken over. What
// is right is not written again.
func (f *Firewall) Restore(ctx context.Context, networks []Network, ports []Port, links ...Link) error {
	c := Change{AddNetworks: networks, AddPorts: ports, AddLinks: links}
	if err := c.validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.want
	f.want = newState()
	f.want.change(c)
	if _, err := f.repair(ctx); err != nil {
		f.want = old
		return fmt.Errorf("restore firewall: %w", err)
	}
	return nil
}

// Check compares the kernel's ruleset with the wanted one and repairs it.
func (f *Firewall) Check(ctx context.Context) (repaired bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if repaired, err = f.repair(ctx); err != nil {
		return false, fmt.Errorf("check firewall: %w", err)
	}
	if !f.wanted().Empty() {
		if err := f.ask(ctx); err != nil {
			return repaired, fmt.Errorf("check forward chain of others: %w", err)
		}
	}
	return repaired, nil
}

// Look compares the kernel's ruleset with the wanted one and changes nothing:
// what differs is a conflict error that names the first of it.
func (f *Firewall) Look(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, err := f.b.Dump(ctx, inetTable, bridgeTable)
	if err != nil {
		return fmt.Errorf("look at firewall: %w", err)
	}
	if b := nft.Diff(have, f.want.tables(f.b.Caps())); len(b) > 0 {
		return catenet.Conflictf("the packet filter is not as it should be: left to do is to %s", b[0])
	}
	return nil
}

// repair writes what differs. f.mu is held.
func (f *Firewall) repair(ctx context.Context) (wrote bool, err error) {
	have, err := f.b.Dump(ctx, inetTable, bridgeTable)
	if err != nil {
		return false, err
	}
	b := nft.Diff(have, f.want.tables(f.b.Caps()))
	return len(b) > 0, f.b.Commit(ctx, b)
}

// Watch puts back what somebody else changes, as soon as the kernel tells
// of it, and looks unasked now and then. It returns when ctx ends, with its
// error, or when it cannot go on.
func (f *Firewall) Watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	check := func() {
		switch repaired, err := f.Check(ctx); {
		case err != nil && ctx.Err() == nil:
			f.log.Error("cannot repair the firewall", "err", err)
		case repaired:
			f.log.Warn("somebody changed our firewall rules: they are back")
		}
	}
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() {
		for t := time.NewTicker(f.every); ; {
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
				check()
			}
		}
	})
	err := f.b.Watch(ctx, []nft.Ref{inetTable, bridgeTable, filterTable4, filterTable6}, check)
	cancel(err)
	return err
}

// Obstacles returns the rules of others that would swallow packets of ours.
func (f *Firewall) Obstacles(ctx context.Context) ([]catenet.Obstacle, error) {
	f.mu.Lock()
	allow := f.allow
	f.mu.Unlock()
	found, err := f.n.Obstacles(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for obstacles: %w", err)
	}
	var out []catenet.Obstacle
	for _, o := range found {
		if allow && o.Iptables {
			continue // the rule that lets us through is there
		}
		out = append(out, o.Obstacle)
	}
	return out, nil
}

// AllowForward keeps our bridges accepted in the forward chains of others,
// from now on and for networks to come.
func (f *Firewall) AllowForward(ctx context.Context) error {
	if err := f.forward(ctx, true); err != nil {
		return fmt.Errorf("allow forwarding: %w", err)
	}
	return nil
}

// DenyForward removes what AllowForward has put there. Networks whose containers
// are somebody else's stay accepted: who makes one asks for that.
func (f *Firewall) DenyForward(ctx context.Context) error {
	if err := f.forward(ctx, false); err != nil {
		return fmt.Errorf("stop allowing forwarding: %w", err)
	}
	return nil
}

func (f *Firewall) forward(ctx context.Context, allow bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.allow
	f.allow = allow
	err := f.ask(ctx)
	if err != nil {
		f.allow = was
	}
	return err
}

// ask has others let pass whose packets they are to. f.mu is held.
func (f *Firewall) ask(ctx context.Context) error {
	w := f.wanted()
	err := f.n.Allow(ctx, w)
	if err == nil {
		f.asked = w
	}
	return err
}

// wanted is whose packets others are to let pass, in order. f.mu is held.
func (f *Firewall) wanted() (w foreign.Wanted) {
	for n := range maps.Values(f.want.networks) {
		switch {
		case n.Link == "":
			w.Spans = append(w.Spans, n.Span...)
		case f.allow:
			w.Bridges = append(w.Bridges, n.Link)
		}
	}
	slices.Sort(w.Bridges)
	slices.SortFunc(w.Spans, netip.Prefix.Compare)
	w.Spans = slices.Compact(w.Spans)
	return w
}

// Remove deletes everything of ours from the kernel, and wants nothing any
// more.
func (f *Firewall) Remove(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, err := f.b.Dump(ctx, inetTable, bridgeTable)
	if err == nil {
		err = f.b.Commit(ctx, nft.Diff(have, nil))
	}
	// An earlier daemon may have been told to allow forwarding.
	err = errors.Join(err, f.n.Allow(ctx, foreign.Wanted{}))
	if err != nil {
		return fmt.Errorf("remove firewall: %w", err)
	}
	f.want, f.allow, f.asked = newState(), false, foreign.Wanted{}
	return nil
}
