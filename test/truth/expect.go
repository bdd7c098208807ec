package truth

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// expect returns the lines that the host must show for what the daemon says.
func (w *World) expect(said word) []string {
	e := &expectation{word: said, bridges: make(map[string]string)}
	for _, n := range said.networks {
		e.network(n)
	}
	for _, sb := range said.sandboxes {
		e.sandbox(sb)
	}
	e.owners()
	return e.lines
}

type expectation struct {
	word
	bridges map[string]string // by network ID
	lines   []string
}

func (e *expectation) say(format string, args ...any) {
	e.lines = append(e.lines, fmt.Sprintf(format, args...))
}

func (e *expectation) network(n catenet.NetworkStatus) {
	if n.Driver == "ptp" && len(n.Endpoints) == 1 { // the other end waits
		e.say("link ctn%s of %s: veth down, ipv6 false, []", catenet.ShortID(n.ID), n.ID)
	}
	e.reached(n)
	if n.Driver != "bridge" && n.Driver != "routed" && n.Driver != "flannel" {
		return
	}
	bridge := cmp.Or(n.Options[catenet.OptionBridge], "br-"+catenet.ShortID(n.ID))
	if n.Predefined {
		bridge = "catenet0"
	}
	e.bridges[n.ID] = bridge
	if n.Link != bridge {
		e.say("network %s tells the truth of its link", n.Name)
	}
	var addrs []string
	for _, p := range n.Pools {
		addrs = append(addrs, netip.PrefixFrom(p.Gateway, p.Subnet.Bits()).String())
		e.say("guarded %s", p.Subnet)
	}
	e.say("link %s of %s: bridge up, ipv6 %v, %s", bridge, n.ID, n.IPv6, sorted(addrs))
	e.say("rules for %s", bridge)
}

// reached are the routes to other hosts, and the devices that they lead through.
func (e *expectation) reached(n catenet.NetworkStatus) {
	if n.Part != nil {
		device, kind := map[string]string{"udp": "flannel0", "vxlan": "flannel.1"}[n.Part.By], map[string]string{"udp": "tun", "vxlan": "vxlan"}[n.Part.By]
		if device != "" {
			e.say("link %s of %s: %s up, ipv6 false, [%s/32]", device, n.ID, kind, n.Part.Subnets[0].Addr())
		}
		if n.Part.By == "udp" { // whose peers the daemon knows
			e.say("reaches %s via ", n.Part.Span[0])
			return
		}
	}
	for _, p := range n.Peers {
		for _, subnet := range p.Subnets {
			via := p.Host
			if p.By == "vxlan" {
				via = subnet.Addr()
			}
			e.say("reaches %s via %s", subnet, via)
		}
	}
}

func (e *expectation) sandbox(sb catenet.SandboxStatus) {
	if sb.Owner == catenet.OwnerRun {
		e.say("log of %s", sb.ID)
	}
	if sb.State != catenet.StateRunning {
		return
	}
	if sb.Owner == catenet.OwnerRun {
		e.say("program of %s in %s", sb.Name, sb.NetnsPath)
		e.say("files of %s: [hostname hosts resolv.conf], addresses %s", sb.ID, addresses(sb))
	} else if sb.Rootfs != "" {
		e.say("files of %s: [hosts resolv.conf], addresses %s", sb.ID, addresses(sb))
	} else if name := netnsName(sb); name != "" && sb.Owner == catenet.OwnerAttach {
		e.say("files of netns %s: [hosts resolv.conf], addresses %s", name, addresses(sb))
	}
	if sb.Owner == catenet.OwnerRun || sb.PID != 0 {
		e.say("pin %s", sb.ID)
	}
	if !sb.Expected {
		e.say("in %s: table ip catenet", sb.Name)
	}
	for _, ep := range sb.Endpoints {
		e.endpoint(sb, ep)
	}
	for _, b := range sb.Bindings {
		e.binding(sb, b)
	}
	if !sb.Expected {
		e.answers(sb)
	}
}

func (e *expectation) endpoint(sb catenet.SandboxStatus, ep catenet.Endpoint) {
	if ep.HostLink != "" {
		e.say("link %s of %s: veth up, ipv6 false, [] on %s", ep.HostLink, ep.ID, e.bridges[ep.NetworkID])
	}
	if rate := ep.Spec.Bandwidth.In.Bits; rate != 0 {
		e.say("rate of %s: %d bytes", ep.HostLink, rate/8)
	}
	if rate := ep.Spec.Bandwidth.Out.Bits; rate != 0 {
		shaper := "cti" + catenet.ShortID(ep.ID)
		e.say("link %s of %s: ifb up, ipv6 false, []", shaper, ep.ID)
		e.say("rate of %s: %d bytes", shaper, rate/8)
		e.say("what arrives by %s goes through %s", ep.HostLink, shaper)
	}
	if ep.Parked != nil { // what is inside is not ours
		if sb.Expected {
			e.say("link %s of : veth down, ipv6 true, []", ep.Parked.Link)
		}
		return
	}
	var addrs []string
	for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
		if a.IsValid() {
			addrs = append(addrs, a.String())
		}
	}
	e.say("in %s: link %s of %s: veth up, ipv6 %v, %s, MAC %s", sb.Name, ep.Interface, ep.ID, ep.IPv6.IsValid(), sorted(addrs), ep.MAC)
	for _, n := range e.networks {
		for _, p := range n.Pools {
			own := map[bool]netip.Prefix{true: ep.IPv4, false: ep.IPv6}[p.Subnet.Addr().Is4()]
			if n.ID == ep.NetworkID && own.IsValid() && own.Masked() != p.Subnet {
				e.say("in %s: route %s via  on %s", sb.Name, p.Subnet, ep.Interface)
			}
		}
		for _, r := range n.Routes {
			own := map[bool]netip.Prefix{true: ep.IPv4, false: ep.IPv6}[r.Dst.Addr().Is4()]
			if n.ID == ep.NetworkID && own.IsValid() && own.Addr() != r.Gateway {
				e.say("in %s: route %s via %s on %s", sb.Name, r.Dst, r.Gateway, ep.Interface)
			}
		}
	}
	if ep.DefaultRoute4 {
		e.say("in %s: route default via %s on %s", sb.Name, ep.Gateway4, ep.Interface)
	}
	if ep.DefaultRoute6 {
		e.say("in %s: route default via %s on %s", sb.Name, ep.Gateway6, ep.Interface)
	}
}

func (e *expectation) binding(sb catenet.SandboxStatus, b catenet.PortBinding) {
	i := slices.IndexFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return ep.ID == b.EndpointID })
	if i < 0 {
		e.say("an endpoint for %s", b)
		return
	}
	to := netip.AddrPortFrom(sb.Endpoints[i].IPv6.Addr(), b.Port)
	if b.HostIP.Is4() {
		to = netip.AddrPortFrom(sb.Endpoints[i].IPv4.Addr(), b.Port)
	}
	at := netip.AddrPortFrom(b.HostIP, b.HostPort)
	if !b.HostIP.IsLoopback() {
		e.say("published %s %s to %s", b.Proto, at, to)
	}
	if b.HostIP.IsLoopback() || b.HostIP.IsUnspecified() {
		e.say("on loopback %s %s to %s", b.Proto, at, to)
	}
	if sb.PortsHeld {
		return
	}
	e.say("held %s %d, IPv6 %v", b.Proto, b.HostPort, b.HostIP.Is6())
}

// answers are what a sandbox gets for every name that one beside it has.
func (e *expectation) answers(sb catenet.SandboxStatus) {
	got := make(map[string][]string)
	for _, other := range e.sandboxes {
		for _, there := range other.Endpoints {
			for _, name := range append([]string{other.Name}, there.Spec.Aliases...) {
				got[name+" in "+there.NetworkID] = append(got[name+" in "+there.NetworkID], there.IPv4.Addr().String())
			}
		}
	}
	// The first of its networks that knows the name has the word.
	eps := slices.Clone(sb.Endpoints)
	slices.SortStableFunc(eps, func(a, b catenet.Endpoint) int { return cmp.Compare(b.Spec.GwPriority, a.Spec.GwPriority) })
	for _, name := range names(e.word, nil) {
		for _, ep := range eps {
			if addrs := got[name+" in "+ep.NetworkID]; addrs != nil {
				e.say("in %s: %s is %s", sb.Name, name, sorted(addrs))
				break
			}
		}
	}
}

// owners are who the addresses that are handed out belong to.
func (e *expectation) owners() {
	for _, sb := range e.sandboxes {
		has := make(map[string]bool)
		for _, ep := range sb.Endpoints {
			for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
				if a.IsValid() {
					has[fmt.Sprintf("%s of %s", a.Addr(), ep.Spec.Network)] = true
				}
			}
		}
		for _, s := range sb.Networks { // a container's fixed ones stay its own
			for _, a := range []netip.Addr{s.IPv4, s.IPv6} {
				if a.IsValid() && sb.Owner == catenet.OwnerRun && e.has(s.Network, a) {
					has[fmt.Sprintf("%s of %s", a, s.Network)] = true
				}
			}
		}
		for line := range has {
			e.say("address %s has %s", line, sb.Name)
		}
	}
}

// has reports whether there is a network of that name with the address in it.
func (e *expectation) has(network string, a netip.Addr) bool {
	return slices.ContainsFunc(e.networks, func(n catenet.NetworkStatus) bool {
		return n.Name == network && slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet.Contains(a) })
	})
}

// names are those that containers and endpoints have, and more.
func names(said word, more []string) []string {
	all := slices.Clone(more)
	for _, sb := range said.sandboxes {
		all = append(all, sb.Name)
		for _, ep := range sb.Endpoints {
			all = append(all, ep.Spec.Aliases...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// addresses are those of a sandbox, of all networks.
func addresses(sb catenet.SandboxStatus) []string {
	var all []string
	for _, ep := range sb.Endpoints {
		for _, a := range []netip.Prefix{ep.IPv4, ep.IPv6} {
			if a.IsValid() {
				all = append(all, a.Addr().String())
			}
		}
	}
	return sorted(all)
}

// sorted sorts, and drops what is there twice.
func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
