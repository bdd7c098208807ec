// Package model does random operations with a real daemon and with a model of
// what one is to do, small enough to be seen to be right, and compares: each
// answer, and now and then all that the host shows.
package model

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// model is what there is to be: networks and sandboxes, by name.
type model struct {
	networks  map[string]network
	sandboxes map[string]*sandbox
	claims    map[netip.Prefix]promised
	come      map[string]bool // places at which a namespace is that may be parked at
}

type network struct {
	subnet   netip.Prefix
	internal bool
	leases   promised
}

// promised are addresses of a subnet that are nobody's yet.
type promised map[netip.Addr]bool

type sandbox struct {
	owner   catenet.Owner
	place   string // of an attached one: what it was attached by
	running bool
	asked   []endpoint // the networks that it is to be in
	port    uint16     // TCP, asked for; 0 is none
}

// endpoint is a network asked for, and the address; zero is any.
type endpoint struct {
	network string
	addr    netip.Addr
}

func newModel() *model {
	return &model{networks: make(map[string]network), sandboxes: make(map[string]*sandbox), claims: make(map[netip.Prefix]promised), come: make(map[string]bool)}
}

// in reports whether a sandbox is to be in a network.
func (sb *sandbox) in(name string) bool {
	return slices.ContainsFunc(sb.asked, func(e endpoint) bool { return e.network == name })
}

// publishes reports whether a sandbox has a way in for its port: a network
// that is not internal.
func (m *model) publishes(sb *sandbox) bool {
	return sb.running && sb.port != 0 && m.outward(sb)
}

func (m *model) outward(sb *sandbox) bool {
	return slices.ContainsFunc(sb.asked, func(e endpoint) bool { return !m.networks[e.network].internal })
}

// has reports whether somebody but sb has an address of a network: as an
// endpoint, or a container of ours for good, or by a lease.
func (m *model) has(sb *sandbox, e endpoint) bool {
	if m.networks[e.network].leases[e.addr] {
		return true
	}
	for _, other := range m.sandboxes {
		if other != sb && (other.running || other.owner == catenet.OwnerRun) && slices.Contains(other.asked, e) {
			return true
		}
	}
	return false
}

// portTaken reports whether somebody but sb publishes its port.
func (m *model) portTaken(sb *sandbox) bool {
	for _, other := range m.sandboxes {
		if other != sb && other.port == sb.port && m.publishes(other) {
			return true
		}
	}
	return false
}

// kinds are the kinds of error that an operation may fail with; with none it
// has to succeed. Of several it does not matter which is noticed first.
type kinds []catenet.Kind

func (k *kinds) add(when bool, kind catenet.Kind) {
	if when {
		*k = append(*k, kind)
	}
}

// join says what is wrong with an endpoint of sb.
func (m *model) join(k *kinds, sb *sandbox, e endpoint) {
	n, there := m.networks[e.network]
	k.add(!there, catenet.KindNotFound)
	if there && e.addr.IsValid() {
		k.add(!n.subnet.Contains(e.addr), catenet.KindInvalid)
		k.add(m.has(sb, e), catenet.KindConflict)
	}
}

// apply predicts how an operation ends, and if it is to succeed, does it.
func (m *model) apply(o op) kinds {
	var k kinds
	sb, there := m.sandboxes[o.name]
	switch o.verb {
	case "network create":
		_, taken := m.networks[o.network]
		for _, n := range m.networks {
			taken = taken || n.subnet == o.subnet
		}
		if k.add(taken || m.claims[o.subnet] != nil, catenet.KindConflict); k == nil {
			m.networks[o.network] = network{o.subnet, o.internal, make(promised)}
		}
	case "network rm":
		_, there := m.networks[o.network]
		k.add(!there, catenet.KindNotFound)
		if k.add(m.used(o.network), catenet.KindForbidden); k == nil {
			delete(m.networks, o.network)
		}
	case "network prune":
		for name := range m.networks {
			if !m.used(name) {
				delete(m.networks, name)
			}
		}
	case "attach", "run", "park":
		k = m.create(o)
	case "connect":
		if k.add(!there, catenet.KindNotFound); there {
			k = m.connect(sb, endpoint{o.network, o.addr})
		}
	case "disconnect":
		_, known := m.networks[o.network]
		done := there && known && sb.owner == catenet.OwnerDocker // a runtime takes its own out, or finds it done
		if k.add(!there || !sb.in(o.network) && !done, catenet.KindNotFound); k == nil {
			sb.asked = slices.DeleteFunc(sb.asked, func(e endpoint) bool { return e.network == o.network })
		}
	case "rm":
		k.add(!there, catenet.KindNotFound)
		if k.add(there && !o.force && sb.owner == catenet.OwnerRun && sb.running, catenet.KindConflict); k == nil {
			delete(m.sandboxes, o.name)
		}
	case "publish":
		if k.add(!there, catenet.KindNotFound); there {
			k = m.publish(sb, o.port)
		}
	case "unpublish":
		if k.add(!there || sb.port != o.port, catenet.KindNotFound); k == nil {
			sb.port = 0
		}
	case "start":
		if k.add(!there, catenet.KindNotFound); there {
			k = m.start(sb)
		}
	case "stop", "kill program":
		k.add(!there, catenet.KindNotFound)
		if k.add(there && sb.owner != catenet.OwnerRun, catenet.KindInvalid); k == nil {
			sb.running = false
		}
	case "claim", "release", "lease", "give back":
		k = m.promise(o)
	case "kill daemon", "upgrade": // nobody counts on a claim of which nothing was told
		maps.DeleteFunc(m.claims, func(_ netip.Prefix, leases promised) bool { return len(leases) == 0 })
	case "arrive":
		m.come[o.place] = true
	case "depart":
		if m.come[o.place] {
			maps.DeleteFunc(m.sandboxes, func(_ string, sb *sandbox) bool { return sb.place == o.place })
		}
		delete(m.come, o.place)
	case "kill owner":
		maps.DeleteFunc(m.sandboxes, func(_ string, sb *sandbox) bool { return sb.place == o.place })
	}
	return k
}

// promise predicts what is asked for ahead.
func (m *model) promise(o op) (k kinds) {
	leases, network := m.claims[o.subnet], ""
	for name, n := range m.networks {
		if n.subnet == o.subnet {
			leases, network = n.leases, name
		}
	}
	switch o.verb {
	case "claim":
		if k.add(network != "" || len(leases) > 0, catenet.KindConflict); k == nil {
			m.claims[o.subnet] = make(promised)
		}
	case "release":
		delete(m.claims, o.subnet)
	case "lease":
		k.add(network == "" && leases[o.addr], catenet.KindConflict)
		k.add(network != "" && !leases[o.addr] && m.has(nil, endpoint{network, o.addr}), catenet.KindConflict)
		if k != nil {
			break
		}
		if leases == nil { // who leases of it has claimed it, before the daemon was killed
			leases = make(promised)
			m.claims[o.subnet] = leases
		}
		leases[o.addr] = true
	case "give back":
		delete(leases, o.addr)
	}
	return k
}

// used reports whether a sandbox that runs is in a network.
func (m *model) used(name string) bool {
	for _, sb := range m.sandboxes {
		if sb.running && sb.in(name) {
			return true
		}
	}
	return false
}

// create predicts attach and run.
func (m *model) create(o op) (k kinds) {
	_, taken := m.sandboxes[o.name]
	k.add(taken, catenet.KindConflict)
	sb := &sandbox{owner: o.owner(), place: o.place, running: true, port: o.port}
	for _, other := range m.sandboxes {
		k.add(o.place != "" && other.place == o.place, catenet.KindConflict)
	}
	for i, name := range o.networks {
		e := endpoint{network: name}
		if i == 0 {
			e.addr = o.addr
		}
		m.join(&k, sb, e)
		k.add(sb.in(name), catenet.KindConflict)
		sb.asked = append(sb.asked, e)
	}
	if sb.port != 0 {
		k.add(!m.outward(sb), catenet.KindInvalid)
		k.add(m.portTaken(sb), catenet.KindConflict)
	}
	if k == nil {
		m.sandboxes[o.name] = sb
	}
	return k
}

// connect predicts that of a sandbox that is there.
func (m *model) connect(sb *sandbox, e endpoint) (k kinds) {
	m.join(&k, sb, e)
	k.add(sb.in(e.network), catenet.KindConflict)
	next := &sandbox{running: sb.running, port: sb.port, asked: append(slices.Clone(sb.asked), e)}
	if k == nil {
		k.add(m.publishes(next) && !m.publishes(sb) && m.portTaken(sb), catenet.KindConflict)
	}
	if k == nil {
		sb.asked = next.asked
	}
	return k
}

// publish predicts that of a sandbox that is there: a port in place of the one
// that it has.
func (m *model) publish(sb *sandbox, port uint16) (k kinds) {
	had := sb.port
	sb.port = port
	for _, e := range sb.asked {
		_, there := m.networks[e.network]
		k.add(!there, catenet.KindNotFound)
	}
	k.add(!m.outward(sb), catenet.KindInvalid)
	k.add(m.publishes(sb) && m.portTaken(sb), catenet.KindConflict)
	if k != nil {
		sb.port = had
	}
	return k
}

// start predicts that of a sandbox that is there.
func (m *model) start(sb *sandbox) (k kinds) {
	if sb.owner != catenet.OwnerRun {
		return kinds{catenet.KindInvalid}
	}
	if sb.running {
		return nil
	}
	for _, e := range sb.asked {
		m.join(&k, sb, e)
	}
	if k == nil && sb.port != 0 && m.outward(sb) {
		k.add(m.portTaken(sb), catenet.KindConflict)
	}
	if k == nil {
		sb.running = true
	}
	return k
}

// String lists what there is to be.
func (m *model) String() string {
	var lines []string
	for name, n := range m.networks {
		lines = append(lines, fmt.Sprintf("network %s %s internal=%v", name, n.subnet, n.internal))
		for a := range n.leases {
			lines = append(lines, fmt.Sprintf("lease %s", a))
		}
	}
	for name, sb := range m.sandboxes {
		var in []string
		for _, e := range sb.asked {
			in = append(in, e.network)
		}
		port := uint16(0)
		if m.publishes(sb) {
			port = sb.port
		}
		lines = append(lines, line(name, sb.owner, sb.running, in, port))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// line is a sandbox with the networks that it is to be in, and the host port
// that it has.
func line(name string, owner catenet.Owner, running bool, in []string, port uint16) string {
	slices.Sort(in)
	return fmt.Sprintf("container %s %s running=%v in %v port %d", name, owner, running, in, port)
}
