package flannel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/flannel"
)

const (
	// pause is how often at most the engine is told. What it is not told yet is
	// forgotten when the daemon is killed.
	pause = time.Second / 5
	// beat is how often it is looked how the registry is doing, and inspection how
	// often the routes, and where this host is, without any reason, in beats.
	beat, inspection = time.Second, 10
)

// Run implements driver.Spanning: one session after the other, each with the part that
// the one before has left.
//
//	the record ─► session: registry ═ deltas ═► routes, tunnels ─► Tell
//	    ▲            │ other subnets, or another address of this host
//	    └────────────┘
func (d Driver) Run(ctx context.Context, s driver.Site) error {
	o, p, err := d.read(s.Network)
	if err != nil {
		return err
	}
	k := &keeper{d: d, o: o, s: s, p: p}
	if k.ways, err = remember(ctx, s, p); err != nil {
		return err
	}
	if k.store, err = d.store(o); err != nil {
		return err
	}
	defer func() { k.store.Close() }() // ends what is under way; there is nothing to lose
	for ctx.Err() == nil {
		if err := k.session(ctx); err != nil {
			return err
		}
	}
	return nil
}

// keeper keeps one network. It is one goroutine's.
type keeper struct {
	d     Driver
	o     options
	s     driver.Site
	p     held
	store etcd.Store
	part  *flannel.Part
	carry *carrier // of the udp backend, else nil

	ways   map[string]way // to the peers, by key; nil: nobody is known yet
	listed bool           // the registry has said who is there: whom it does not know is gone
	change bool           // they are not told yet
	told   time.Time      // last
	said   string         // the trouble that was told last
	lost   error          // what was wrong with the routes last
	where  error          // with where this host is
	file   error          // with the subnet file
}

// session keeps the network until ctx ends, or this host has another part.
func (k *keeper) session(ctx context.Context) (err error) {
	if err := k.locate(ctx); err != nil {
		return err
	}
	k.file = k.p.writeFile(k.o)
	registry := k.o.registry(k.store)
	node := k.d.node(k.p, k.s.Network)
	node.RenewMargin = k.o.margin
	if k.part, err = flannel.Resume(registry, node, k.p.State); err != nil {
		return err
	}
	if k.p.backend() == flannel.BackendUDP {
		if k.carry, err = k.d.carry(ctx, k.s.Network.ID, k.p, k.ways); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.carry.close()) }()
	}
	k.lead(ctx) // by what is remembered: etcd may be away
	ctx, stop := context.WithCancel(ctx)
	deltas, done := make(chan flannel.Delta), make(chan struct{})
	defer func() { stop(); <-done }()
	go func() {
		defer close(done)
		k.part.Run(ctx, func(d flannel.Delta) {
			select {
			case deltas <- d:
			case <-ctx.Done():
			}
		})
	}()
	return k.follow(ctx, deltas)
}

// follow does what there is to do, as it comes.
func (k *keeper) follow(ctx context.Context, deltas <-chan flannel.Delta) error {
	clock := time.NewTicker(beat)
	defer clock.Stop()
	var later <-chan time.Time // there is something left to tell
	for beats := 0; ; {
		look := false
		select {
		case <-ctx.Done():
			return nil
		case <-k.carry.end():
			return fmt.Errorf("carry packets: %w", k.carry.err)
		case d := <-deltas:
			if d.Own != k.p.Subnets {
				k.p.State = k.part.State()
				return k.repart()
			}
			if err := k.take(ctx, d); err != nil {
				return err
			}
		case <-k.s.Lost:
			look = true
		case <-clock.C:
			beats++
			look = beats%inspection == 0
		case <-later:
		}
		if look && k.look(ctx) {
			return nil
		}
		later = k.tell()
	}
}

// look has everything be as it should, and reports whether this host has moved.
func (k *keeper) look(ctx context.Context) bool {
	k.lead(ctx)
	if k.file != nil {
		k.file = k.p.writeFile(k.o)
	}
	now, moved := k.moved(ctx)
	if moved {
		k.d.log.Info("this host is elsewhere", "network", k.s.Network.Name, "was", k.p.site, "is", now)
	}
	return moved
}

// take makes a delta true. An error means that it is not known any more who is there.
func (k *keeper) take(ctx context.Context, d flannel.Delta) error {
	ways, err := k.p.ways(ctx, k.s.Host, d.Add)
	if err != nil {
		return err
	}
	k.change = true
	if d.Full {
		k.ways, k.listed = ways, true
		k.lead(ctx)
	} else {
		k.lost = k.apply(ctx, d, ways)
	}
	return nil
}

// tell says what has changed. If that was just done it returns when it is time again.
func (k *keeper) tell() <-chan time.Time {
	trouble := errors.Join(named(k.part.Status().Trouble), k.where, k.lost, remote(k.ways), k.file)
	said := fmt.Sprint(trouble)
	if !k.change && said == k.said {
		return nil
	}
	if wait := pause - time.Since(k.told); wait > 0 {
		return time.After(wait)
	}
	news := driver.News{Trouble: trouble}
	if k.carry != nil {
		news.Traffic = k.carry.traffic
	}
	if k.change {
		news.Peers, news.Hosts = k.p.peersOf(k.ways), neighbours(k.ways)
		var err error
		if news.Memory, err = memory(k.ways); err != nil {
			news.Trouble = errors.Join(trouble, err)
		}
	}
	k.s.Tell(news)
	k.change, k.said, k.told = false, said, time.Now()
	return nil
}

// repart tells of another part of this host: its links are to be made for that.
func (k *keeper) repart() error {
	part, err := k.p.part(k.o)
	if err != nil {
		return err
	}
	k.s.Network.Part = &part
	k.s.Tell(driver.News{Part: &part})
	k.said, k.change = "", k.ways != nil
	return nil
}
