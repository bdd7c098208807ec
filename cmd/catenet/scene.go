package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// picture is what the drawing of the topology shows, in words.
type picture struct {
	title, about string
	boxes        []box
}

// box is a network and the containers in it.
type box struct {
	title, about string
	apart        bool // the host is not in it
	members      []member
}

// member is a container's place in a network, or another host of that.
type member struct {
	running, host    bool // of a host: it is reached, as far as is known
	name, link, addr string
	notes            string // ports, and where else it is
}

// maxPortRuns is how many runs of ports one line tells of, and maxHosts how many
// other hosts are drawn of a network.
const (
	maxPortRuns = 3
	maxHosts    = 8
)

// scene puts what there is into words.
func scene(info catenet.Info, networks []catenet.NetworkStatus, sandboxes []catenet.SandboxStatus, all bool) picture {
	p := picture{
		title: info.Hostname,
		about: fmt.Sprintf("kernel %s · catenet %s", info.Kernel, info.Version.Version),
	}
	shared := map[string][]string{} // names of containers by whose namespace they are in
	for _, sb := range sandboxes {
		if to, ok := strings.CutPrefix(sb.Mode, catenet.ModeContainer); ok && (all || sb.State == catenet.StateRunning) {
			shared[to] = append(shared[to], sb.Name)
		}
	}
	networks = slices.Clone(networks)
	slices.SortStableFunc(networks, func(a, b catenet.NetworkStatus) int { return cmp.Compare(place(a), place(b)) })
	for _, n := range networks {
		b := box{title: n.Name + " · " + n.Driver, about: aboutNetwork(n), apart: apart(n)}
		for _, sb := range slices.Backward(sandboxes) { // oldest first
			if !all && sb.State != catenet.StateRunning {
				continue
			}
			guests := append(slices.Clone(shared[sb.Name]), shared[sb.ID]...)
			b.members = append(b.members, membersOf(n, sb, guests)...)
		}
		b.members = append(b.members, hostsOf(n)...)
		if all || len(b.members) > 0 || !n.Predefined {
			p.boxes = append(p.boxes, b)
		}
	}
	return p
}

// place orders networks: predefined ones matter less, and what does not hang on
// the host stands below all that does.
func place(n catenet.NetworkStatus) int {
	switch {
	case apart(n):
		return 2
	case n.Predefined:
		return 1
	}
	return 0
}

// apart reports whether the host has no address in a network that has some.
func apart(n catenet.NetworkStatus) bool {
	return len(n.Pools) > 0 && !slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Gateway.IsValid() })
}

func aboutNetwork(n catenet.NetworkStatus) string {
	switch n.Name {
	case catenet.NetworkHost:
		return "the host's own namespace"
	case catenet.NetworkNone:
		return "nothing but lo"
	}
	var parts []string
	if n.Link != "" {
		parts = append(parts, n.Link)
	}
	for _, pool := range n.Pools {
		s := pool.Subnet.String()
		if pool.Gateway.IsValid() {
			s += " via " + pool.Gateway.String()
		}
		parts = append(parts, s)
	}
	if n.Internal {
		parts = append(parts, "internal")
	}
	if n.Trouble != "" {
		parts = append(parts, "in trouble: catenet info")
	}
	return strings.Join(parts, " · ")
}

// membersOf returns the place of a sandbox in n, if it has one.
func membersOf(n catenet.NetworkStatus, sb catenet.SandboxStatus, guests []string) []member {
	m := member{running: sb.State == catenet.StateRunning, name: sb.Name}
	var notes []string
	if sb.Mode == n.Name && (sb.Mode == catenet.ModeHost || sb.Mode == catenet.ModeNone) {
		m.notes = strings.Join(append(notes, guestNote(guests)...), ", ")
		return []member{m}
	}
	i := slices.IndexFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return ep.NetworkID == n.ID })
	if i < 0 {
		// One that does not run has no place yet, or no more.
		if m.running || !slices.ContainsFunc(sb.Networks, func(ep catenet.EndpointSpec) bool { return ep.Network == n.Name }) {
			return nil
		}
		return []member{m}
	}
	ep := sb.Endpoints[i]
	m.link, m.addr = ep.Interface, strings.Join(addresses([]catenet.Endpoint{ep}), " ")
	var ports []catenet.PortBinding
	for _, b := range sb.Bindings {
		if b.EndpointID == ep.ID || b.EndpointID == "" && i == 0 {
			ports = append(ports, b)
		}
	}
	runs := portRuns(ports, "→", true)
	if more := len(runs) - maxPortRuns; more > 0 {
		runs = append(runs[:maxPortRuns], fmt.Sprintf("%d more", more))
	}
	notes = append(notes, runs...)
	if len(sb.Endpoints) > 1 {
		if ep.DefaultRoute4 || ep.DefaultRoute6 {
			notes = append(notes, "default route")
		}
		var others []string
		for j, o := range sb.Endpoints {
			if j != i {
				others = append(others, o.Spec.Network)
			}
		}
		notes = append(notes, "also in "+strings.Join(others, " and "))
	}
	m.notes = strings.Join(append(notes, guestNote(guests)...), ", ")
	return []member{m}
}

// hostsOf are the other hosts of a network.
func hostsOf(n catenet.NetworkStatus) (hosts []member) {
	for i, p := range n.Peers {
		if i == maxHosts {
			return append(hosts, member{host: true, running: true, name: fmt.Sprintf("%d more", len(n.Peers)-i)})
		}
		m := member{host: true, running: p.Trouble == "", name: p.Host.String(), link: p.By}
		if !m.running {
			m.notes = "not reached"
		}
		for _, s := range p.Subnets {
			m.addr = strings.TrimSpace(m.addr + " " + s.String())
		}
		hosts = append(hosts, m)
	}
	return hosts
}

func guestNote(guests []string) []string {
	if len(guests) == 0 {
		return nil
	}
	return []string{"shared with " + strings.Join(guests, " and ")}
}
