// Package apitest has an engine in memory, for tests of what stands on the
// API. It keeps networks, sandboxes and ports as the real one does, and runs
// containers as plain processes of the host; of the kernel's networks it
// touches nothing. Its IDs and times are the same in every run.
package apitest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catenet/catenet"
)

// Now is the time at which everything happens in the engine.
var Now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Engine implements server.Engine.
type Engine struct {
	mu        sync.Mutex // guards all below
	networks  map[string]*catenet.NetworkStatus
	sandboxes map[string]*container
	order     []string // IDs of sandboxes, oldest first
	nextPort  uint16
	subs      map[chan catenet.Event]catenet.Filter
	past      []catenet.Event // all that happened, oldest first
}

// New makes an engine with the predefined networks.
func New() *Engine {
	e := &Engine{
		networks:  map[string]*catenet.NetworkStatus{},
		sandboxes: map[string]*container{},
		nextPort:  32768,
		subs:      map[chan catenet.Event]catenet.Filter{},
	}
	for _, name := range []string{catenet.NetworkBridge, catenet.NetworkHost, catenet.NetworkNone} {
		n := catenet.Network{ID: id("network", name), Created: Now, Predefined: true}
		n.Name, n.Driver = name, name
		if name == catenet.NetworkBridge {
			n.Pools = []catenet.Pool{{Subnet: netip.MustParsePrefix("172.17.0.0/16"), Gateway: netip.MustParseAddr("172.17.0.1")}}
		}
		if name == catenet.NetworkNone {
			n.Driver = "null"
		}
		e.networks[n.ID] = &catenet.NetworkStatus{Network: n}
	}
	return e
}

// Close ends every container that still runs.
func (e *Engine) Close() {
	e.mu.Lock()
	var running []*container
	for _, c := range e.sandboxes {
		running = append(running, c)
	}
	e.mu.Unlock()
	for _, c := range running {
		c.kill()
	}
}

func id(what, name string) string {
	sum := sha256.Sum256([]byte(what + " " + name))
	return hex.EncodeToString(sum[:])
}

// find returns the key that ref names among names by ID.
func find(what, ref string, names map[string]string) (string, error) {
	if _, ok := names[ref]; ok {
		return ref, nil
	}
	var hits []string
	for id, name := range names {
		if name == ref {
			return id, nil
		}
		if strings.HasPrefix(id, ref) {
			hits = append(hits, id)
		}
	}
	switch {
	case len(hits) == 1:
		return hits[0], nil
	case len(hits) > 1:
		return "", catenet.Invalidf("%q is the beginning of %d %s IDs", ref, len(hits), what).WithHint("use the name, or more of the ID")
	case what == "network":
		return "", catenet.NotFoundf("there is no network %q", ref).
			WithHint("catenet network ls shows those there are, catenet network create %s makes it", ref)
	}
	return "", catenet.NotFoundf("there is no container %q", ref).WithHint("catenet ps -a shows those there are")
}

func (e *Engine) network(ref string) (*catenet.NetworkStatus, error) {
	names := map[string]string{}
	for id, n := range e.networks {
		names[id] = n.Name
	}
	id, err := find("network", ref, names)
	return e.networks[id], err
}

func (e *Engine) sandbox(ref string) (*container, error) {
	names := map[string]string{}
	for id, c := range e.sandboxes {
		names[id] = c.status.Name
	}
	id, err := find("container", ref, names)
	return e.sandboxes[id], err
}

// tell sends an event to whom it concerns. The caller holds e.mu.
func (e *Engine) tell(typ, action, id string, attrs map[string]string) {
	ev := catenet.Event{Time: Now, Type: typ, Action: action, ID: id, Attributes: attrs}
	e.past = append(e.past, ev)
	for ch, f := range e.subs {
		if f.MatchEvent(ev) {
			ch <- ev
		}
	}
}

// Events implements server.Engine.
func (e *Engine) Events(ctx context.Context, f catenet.Filter, since time.Time) (<-chan catenet.Event, error) {
	ch := make(chan catenet.Event, 1000)
	e.mu.Lock()
	e.subs[ch] = f
	for _, ev := range e.past {
		if !since.IsZero() && !ev.Time.Before(since) && f.MatchEvent(ev) {
			ch <- ev
		}
	}
	e.mu.Unlock()
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if _, ok := e.subs[ch]; ok {
			delete(e.subs, ch)
			close(ch)
		}
	})
	return ch, nil
}

// HangUp ends all subscriptions; what was told before is still read.
func (e *Engine) HangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.subs {
		delete(e.subs, ch)
		close(ch)
	}
}

// Subscribers returns how many read events now.
func (e *Engine) Subscribers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subs)
}

// Info implements server.Engine.
func (e *Engine) Info(context.Context) (catenet.Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := catenet.Info{
		Version: catenet.Version{Version: "0.0.0-test", API: catenet.APIVersion, Go: "go1", Platform: "linux/test"},
		NodeID:  id("node", "test"), Hostname: "testhost", Kernel: "6.18.0-test", Memory: 8 << 30,
		RunDir: "/run/catenet", StateDir: "/var/lib/catenet", Drivers: []string{"bridge", "routed", "host", "null"},
		Options: map[string]catenet.DriverOptions{"bridge": {Network: []string{catenet.OptionBridge, catenet.OptionHostBinding}, Endpoint: []string{catenet.OptionInterface}},
			"routed": {Network: []string{"peers"}, Update: []string{"peers"}}},
		Networks: len(e.networks), Sandboxes: len(e.sandboxes),
		Loopback: "cgroup-ebpf", Firewall: catenet.FirewallInfo{Backend: "nftables", Owner: true},
		DNSUpstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
		Obstacles:    []catenet.Obstacle{{Rule: "chain FORWARD of table ip filter has policy drop", Remedy: "start catenetd with --allow-forward"}},
		Warnings:     []string{"this kernel has no SCTP"},
	}
	for _, c := range e.sandboxes {
		if c.status.State == catenet.StateRunning {
			info.Running++
		}
		info.Endpoints += len(c.status.Endpoints)
		info.Ports += len(c.status.Bindings)
	}
	return info, nil
}

// Endpoints implements server.Engine.
func (e *Engine) Endpoints(context.Context) (eps []catenet.Endpoint, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range e.order {
		eps = append(eps, e.sandboxes[id].status.Endpoints...)
	}
	return eps, nil
}

// Ports implements server.Engine.
func (e *Engine) Ports(context.Context) (ports []catenet.PortBinding, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range e.order {
		ports = append(ports, e.sandboxes[id].status.Bindings...)
	}
	return ports, nil
}

// CreateNetwork implements server.Engine.
func (e *Engine) CreateNetwork(_ context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := catenet.ValidateName("network", spec.Name); err != nil {
		return catenet.Network{}, nil, err
	}
	switch spec.Name {
	case catenet.NetworkBridge, catenet.NetworkHost, catenet.NetworkNone, "default", "container":
		return catenet.Network{}, nil, catenet.Forbiddenf("the name %q is predefined", spec.Name).WithHint("choose another name")
	}
	if spec.Driver == "" {
		spec.Driver = "bridge"
	}
	if spec.Driver != "bridge" && spec.Driver != "routed" {
		return catenet.Network{}, nil, catenet.NotFoundf("there is no driver %q", spec.Driver).WithHint("drivers: bridge, routed")
	}
	n := catenet.Network{ID: id("network", spec.Name), NetworkSpec: spec, Created: Now}
	if _, ok := e.networks[n.ID]; ok {
		return catenet.Network{}, nil, catenet.Conflictf("network %s exists already", spec.Name).
			WithHint("catenet network inspect %s shows it; choose another name, or remove it first", spec.Name)
	}
	n.Pools = slices.Clone(spec.Pools)
	if !slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet.Addr().Is4() }) && !spec.DisableIPv4 {
		n.Pools = append(n.Pools, catenet.Pool{Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(15 + len(e.networks)), 0, 0}), 16)})
	}
	var warnings []string
	if spec.IPv6 && !slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet.Addr().Is6() }) {
		n.Pools = append(n.Pools, catenet.Pool{Subnet: netip.MustParsePrefix(fmt.Sprintf("fd00:%x::/64", len(e.networks)))})
	}
	if spec.IPv6 {
		warnings = append(warnings, "router advertisements of this host stay as they are")
	}
	for i, p := range n.Pools {
		if !p.Gateway.IsValid() {
			n.Pools[i].Gateway = p.Subnet.Masked().Addr().Next()
		}
	}
	e.networks[n.ID] = &catenet.NetworkStatus{Network: n}
	e.tell("network", "create", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return n, warnings, nil
}

// status fills in what changes. The caller holds e.mu.
func (e *Engine) status(n *catenet.NetworkStatus) catenet.NetworkStatus {
	out := *n
	out.Endpoints, out.Use, out.Owners = nil, nil, nil
	if n.Driver == "bridge" && !n.ConfigOnly {
		out.Link = cmp.Or(n.Options[catenet.OptionBridge], "br-"+catenet.ShortID(n.ID))
	}
	for _, id := range e.order {
		for _, ep := range e.sandboxes[id].status.Endpoints {
			if ep.NetworkID == n.ID {
				out.Endpoints = append(out.Endpoints, ep)
			}
		}
	}
	for _, p := range n.Pools {
		out.Owners = append(out.Owners, catenet.AddressOwner{Address: p.Gateway, Owner: "gateway"})
		for _, ep := range out.Endpoints {
			for _, a := range []netip.Addr{ep.IPv4.Addr(), ep.IPv6.Addr()} {
				if p.Subnet.Contains(a) {
					out.Owners = append(out.Owners, catenet.AddressOwner{Address: a, Owner: e.sandboxes[ep.SandboxID].status.Name})
				}
			}
		}
		for name, a := range p.Aux {
			out.Owners = append(out.Owners, catenet.AddressOwner{Address: a, Owner: "aux:" + name})
		}
		out.Use = append(out.Use, use(p, out.Owners))
	}
	return out
}

// use counts a pool's addresses. One of IPv6 has as many as can be told.
func use(p catenet.Pool, owners []catenet.AddressOwner) catenet.PoolUse {
	u := catenet.PoolUse{Subnet: p.Subnet}
	from, reserved := p.Range, uint64(0)
	if !from.IsValid() {
		from, reserved = p.Subnet, 2 // the network itself, and broadcast
	}
	u.Free = uint64(1)<<min(from.Addr().BitLen()-from.Bits(), 63) - reserved
	for _, o := range owners {
		if p.Subnet.Contains(o.Address) {
			u.Used++
		}
		if from.Contains(o.Address) {
			u.Free--
		}
	}
	return u
}

// Networks implements server.Engine.
func (e *Engine) Networks(context.Context) ([]catenet.NetworkStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []catenet.NetworkStatus
	for _, n := range e.networks {
		out = append(out, e.status(n))
	}
	slices.SortFunc(out, func(a, b catenet.NetworkStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Network implements server.Engine.
func (e *Engine) Network(_ context.Context, ref string) (catenet.NetworkStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(ref)
	if err != nil {
		return catenet.NetworkStatus{}, err
	}
	return e.status(n), nil
}

// RemoveNetwork implements server.Engine.
func (e *Engine) RemoveNetwork(_ context.Context, ref string) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(ref)
	if err != nil {
		return nil, err
	}
	if n.Predefined {
		return nil, catenet.Forbiddenf("network %s is predefined and cannot be removed", n.Name)
	}
	if eps := e.status(n).Endpoints; len(eps) > 0 {
		var names []string
		for _, ep := range eps {
			names = append(names, e.sandboxes[ep.SandboxID].status.Name)
		}
		slices.Sort(names)
		return nil, catenet.Forbiddenf("network %s has containers in it: %s", n.Name, strings.Join(names, ", ")).
			WithHint("catenet network disconnect %s CONTAINER takes one out", n.Name)
	}
	delete(e.networks, n.ID)
	e.tell("network", "destroy", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return nil, nil
}

// PruneNetworks implements server.Engine.
func (e *Engine) PruneNetworks(ctx context.Context, f catenet.Filter) (names []string, err error) {
	e.mu.Lock()
	all := maps.Clone(e.networks)
	e.mu.Unlock()
	for _, n := range all {
		if n.Predefined || !f.MatchNetwork(n.Network, false, Now) {
			continue
		}
		if _, err := e.RemoveNetwork(ctx, n.ID); err == nil {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
