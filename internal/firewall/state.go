package firewall

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// endpoint is the host's side of a published port: what there can be only
// one of. A port that has none is known by the container's.
type endpoint struct {
	proto catenet.Proto
	host  netip.AddrPort
}

func (p Port) endpoint() endpoint {
	if p.HostPort == 0 {
		return endpoint{p.Proto, p.To}
	}
	return endpoint{p.Proto, netip.AddrPortFrom(p.HostIP, p.HostPort)}
}

// state is what is wanted. elements counts how many networks and ports want
// each element: a port published on 127.0.0.1 and on 127.0.0.2 is one
// element of the loopback set.
type state struct {
	networks map[string]Network
	ports    map[endpoint]Port
	links    map[Link]bool
	elements map[string]counted
}

type counted struct {
	element
	n int
}

func newState() *state {
	return &state{map[string]Network{}, map[endpoint]Port{}, map[Link]bool{}, map[string]counted{}}
}

// tables is the whole ruleset that the state stands for, sorted.
func (s *state) tables(caps nft.Caps) []nft.Table {
	tables := skeleton(caps)
	t := &tables[0]
	for _, n := range s.networks {
		t.Chains = append(t.Chains, n.chains()...)
	}
	place := make(map[string]*nft.Set, len(t.Sets))
	for i := range t.Sets {
		place[t.Sets[i].Name] = &t.Sets[i]
	}
	for _, c := range s.elements {
		set := place[c.set]
		set.Elements = append(set.Elements, c.Element)
	}
	for i := range tables {
		tables[i].Sort()
	}
	return tables
}

// change applies c to the state. It returns the parts of the ruleset that
// were touched, as they were and as they are, and a function that takes the
// change back. Its cost is that of the change, not of the state.
func (s *state) change(c Change) (before, after nft.Table, undo func()) {
	t := touched{s: s, networks: map[string]*Network{}, ports: map[endpoint]*Port{}, links: map[Link]bool{}, elements: map[string]counted{}}
	for _, p := range c.RemovePorts {
		if old, ok := s.ports[p.endpoint()]; ok && old.To == p.To {
			t.removePort(p.endpoint())
		}
	}
	for _, l := range c.RemoveLinks {
		t.setLink(l, false)
	}
	for _, id := range c.RemoveNetworks {
		t.removeNetwork(id)
	}
	for _, n := range c.AddNetworks {
		if old, ok := s.networks[n.ID]; !ok || !reflect.DeepEqual(old, n) {
			t.addNetwork(n)
		}
	}
	for _, p := range c.AddPorts {
		if old, ok := s.ports[p.endpoint()]; !ok || old != p {
			t.addPort(p)
		}
	}
	for _, l := range c.AddLinks {
		t.setLink(l, true)
	}
	before, after = t.tables()
	return before, after, t.undo
}

// touched remembers what was there of everything that a change touches; nil
// false or a count of 0: nothing.
type touched struct {
	s        *state
	networks map[string]*Network
	ports    map[endpoint]*Port
	links    map[Link]bool
	elements map[string]counted
}

func (t *touched) removeNetwork(id string) {
	n, ok := t.s.networks[id]
	if !ok {
		return
	}
	if _, seen := t.networks[id]; !seen {
		t.networks[id] = &n
	}
	t.count(n.elements(), -1)
	delete(t.s.networks, id)
}

func (t *touched) addNetwork(n Network) {
	t.removeNetwork(n.ID)
	if _, seen := t.networks[n.ID]; !seen {
		t.networks[n.ID] = nil
	}
	t.s.networks[n.ID] = n
	t.count(n.elements(), +1)
}

func (t *touched) removePort(at endpoint) {
	p, ok := t.s.ports[at]
	if !ok {
		return
	}
	if _, seen := t.ports[at]; !seen {
		t.ports[at] = &p
	}
	t.count(p.elements(), -1)
	delete(t.s.ports, at)
}

func (t *touched) addPort(p Port) {
	t.removePort(p.endpoint())
	if _, seen := t.ports[p.endpoint()]; !seen {
		t.ports[p.endpoint()] = nil
	}
	t.s.ports[p.endpoint()] = p
	t.count(p.elements(), +1)
}

// setLink has a link be there, or not.
func (t *touched) setLink(l Link, on bool) {
	was := t.s.links[l]
	if was == on {
		return
	}
	if _, seen := t.links[l]; !seen {
		t.links[l] = was
	}
	if on {
		t.s.links[l] = true
		t.count(l.elements(), +1)
	} else {
		delete(t.s.links, l)
		t.count(l.elements(), -1)
	}
}

func (t *touched) count(els []element, by int) {
	for _, e := range els {
		k := e.key()
		c := t.s.elements[k]
		if _, seen := t.elements[k]; !seen {
			c.set = e.set
			t.elements[k] = c
		}
		if c.element, c.n = e, c.n+by; c.n == 0 {
			delete(t.s.elements, k)
		} else {
			t.s.elements[k] = c
		}
	}
}

// undo puts back what was there.
func (t *touched) undo() {
	for id, n := range t.networks {
		if delete(t.s.networks, id); n != nil {
			t.s.networks[id] = *n
		}
	}
	for at, p := range t.ports {
		if delete(t.s.ports, at); p != nil {
			t.s.ports[at] = *p
		}
	}
	for l, was := range t.links {
		if delete(t.s.links, l); was {
			t.s.links[l] = true
		}
	}
	for k, c := range t.elements {
		if delete(t.s.elements, k); c.n > 0 {
			t.s.elements[k] = c
		}
	}
}

// tables are the touched parts of the inet table, before and after.
func (t *touched) tables() (before, after nft.Table) {
	before = nft.Table{Ref: inetTable, Held: true}
	after = before
	for _, id := range slices.Sorted(maps.Keys(t.networks)) {
		if old := t.networks[id]; old != nil {
			before.Chains = append(before.Chains, old.chains()...)
		}
		if n, ok := t.s.networks[id]; ok {
			after.Chains = append(after.Chains, n.chains()...)
		}
	}
	old, now := map[string][]nft.Element{}, map[string][]nft.Element{}
	for _, k := range slices.Sorted(maps.Keys(t.elements)) {
		c := t.elements[k]
		if c.n > 0 {
			old[c.set] = append(old[c.set], c.Element)
		}
		if c, ok := t.s.elements[k]; ok {
			now[c.set] = append(now[c.set], c.Element)
		}
	}
	for _, s := range sets() {
		if len(old[s.Name])+len(now[s.Name]) > 0 {
			b, a := s, s
			b.Elements, a.Elements = old[s.Name], now[s.Name]
			before.Sets, after.Sets = append(before.Sets, b), append(after.Sets, a)
		}
	}
	return before, after
}
