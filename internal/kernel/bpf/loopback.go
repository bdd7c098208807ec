package bpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
)

const (
	// maxPorts is how many published loopback ports there can be. The map
	// takes memory only for those there are.
	maxPorts = 1 << 16
	// maxFlows is how many sockets' original destinations are remembered;
	// the least recently used ones are forgotten first. A forgotten UDP
	// socket gets answers from the container's address, a forgotten TCP one
	// is only told the container's address as its peer's.
	maxFlows = 1 << 16
)

// place is an address in IPv6 form, a port in network order, and a protocol
// number (0 in a target): the key and the value of the map of ports, and the
// value of the map of flows.
type place struct {
	Addr  [16]byte
	Port  [2]byte
	Proto uint16
}

// flowKey is the key of the map of flows: a socket and where it was led.
type flowKey struct {
	Cookie uint64
	Addr   [16]byte
	Port   [2]byte
	_      [6]byte
}

// Options say where things are.
type Options struct {
	// Dir is where the bpffs is mounted; made if absent. Another daemon has
	// another one.
	Dir string
	// Cgroup is the root of the cgroup2 hierarchy; "" finds where it is
	// mounted.
	Cgroup string
	Log    *slog.Logger
}

// Loopback implements kernel.Loopback by eBPF.
type Loopback struct {
	dir    string
	fresh  bool // the folder was mounted by Open
	cgroup string
	log    *slog.Logger
	most   uint32 // ports that the map takes

	mu       sync.Mutex // guards what follows
	ports    *ebpf.Map  // place → place
	flows    *ebpf.Map  // flowKey → place
	programs map[string]*ebpf.Program
	links    map[string]attachment
	stale    bool // links of an earlier daemon have its programs still
}

var _ kernel.Loopback = (*Loopback)(nil)

// Name is what info shows.
func (l *Loopback) Name() string { return "cgroup-ebpf" }

// Set adds and removes ports. If one cannot be added, all is as before.
func (l *Loopback) Set(ctx context.Context, add, remove []kernel.LoopbackPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := make([]change, 0, len(add)+len(remove))
	for _, p := range remove {
		if key, _, ok := places(p); ok {
			changes = append(changes, change{key: key})
		}
	}
	for _, p := range add {
		key, to, ok := places(p)
		if !ok {
			l.log.Info("eBPF carries no such port: it is not reached by loopback addresses", "port", p.Port, "proto", p.Proto)
			continue
		}
		changes = append(changes, change{key, &to})
	}
	if kernel.Looks(ctx) {
		return l.look(changes)
	}
	if err := l.apply(changes); err != nil {
		return err
	}
	return l.refresh()
}

// look is a conflict error if a change is still to be made, or a program is not
// where it acts. l.mu is held.
func (l *Loopback) look(changes []change) error {
	for name, a := range l.links {
		if !l.onCgroup(a) {
			return catenet.Conflictf("the program %s of loopback ports is not on its cgroup", name).WithHint("a restart of catenetd puts it back")
		}
	}
	for _, c := range changes {
		is, err := l.lookup(c.key)
		if err != nil {
			return err
		}
		if is == nil != (c.to == nil) || is != nil && *is != *c.to {
			return catenet.Conflictf("port %d is not carried from loopback addresses as it should be", binary.BigEndian.Uint16(c.key.Port[:])).
				WithHint("a restart of catenetd puts it back")
		}
	}
	return nil
}

// lookup is where a port leads; nil if nowhere.
func (l *Loopback) lookup(key place) (*place, error) {
	var to place
	err := l.ports.Lookup(key, &to)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read loopback port: %w", err)
	}
	return &to, nil
}

// Restore makes exactly these ports served. What an earlier daemon left and
// is right is not touched; then its programs give way to ours.
func (l *Loopback) Restore(_ context.Context, ports []kernel.LoopbackPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := make(map[place]place, len(ports))
	for _, p := range ports {
		if key, to, ok := places(p); ok {
			want[key] = to
		}
	}
	var changes []change
	var key, to place
	all := l.ports.Iterate()
	for all.Next(&key, &to) {
		switch right, ok := want[key]; {
		case !ok:
			changes = append(changes, change{key: key})
		case right == to:
			delete(want, key)
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read loopback ports: %w", err)
	}
	for key, to := range want {
		changes = append(changes, change{key, &to})
	}
	if err := l.apply(changes); err != nil {
		return err
	}
	return l.refresh()
}

// change sets a port, or with a nil target removes it.
type change struct {
	key place
	to  *place
}

// apply makes the changes in order, or none of them.
func (l *Loopback) apply(changes []change) (err error) {
	undo := make([]change, 0, len(changes))
	defer func() {
		if err == nil {
			return
		}
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, l.put(undo[i]))
		}
	}()
	for _, c := range changes {
		was, err := l.lookup(c.key)
		if err == nil {
			err = l.put(c)
		}
		if err != nil {
			return err
		}
		undo = append(undo, change{c.key, was})
	}
	return nil
}

func (l *Loopback) put(c change) error {
	failpoint.Before("bpf.port")
	var doing string
	var err error
	if c.to == nil {
		doing, err = "remove", l.ports.Delete(c.key)
	} else {
		doing, err = "set", l.ports.Put(c.key, *c.to)
	}
	failpoint.After("bpf.port")
	if err == nil || c.to == nil && errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return fmt.Errorf("%s loopback port: %w", doing, err)
}

// places turns a port into its entry; ok is false for what has none.
func places(p kernel.LoopbackPort) (key, to place, ok bool) {
	proto := catenet.Proto(p.Proto)
	if proto != catenet.TCP && proto != catenet.UDP {
		return key, to, false
	}
	key = placeOf(netip.AddrPortFrom(p.IP, p.Port))
	key.Proto = uint16(proto.Number())
	return key, placeOf(p.To), true
}

func placeOf(a netip.AddrPort) place {
	return place{Addr: a.Addr().As16(), Port: [2]byte{byte(a.Port() >> 8), byte(a.Port())}}
}

// Close lets go of everything. Ports stay served: what is pinned outlives us.
func (l *Loopback) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := []error{l.ports.Close(), l.flows.Close()}
	for _, p := range l.programs {
		errs = append(errs, p.Close())
	}
	for _, a := range l.links {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}
