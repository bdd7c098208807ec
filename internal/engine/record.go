package engine

import (
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/store"
)

// Kinds of records in the store.
const (
	kindNetwork   store.Kind = "network"   // durable: networkEntry
	kindHandback  store.Kind = "handback"  // durable: handback, by network
	kindClaim     store.Kind = "claim"     // durable: catenet.Claim, by subnet
	kindContainer store.Kind = "container" // durable: containerEntry
	kindSandbox   store.Kind = "sandbox"   // live: sandboxEntry
	kindLease     store.Kind = "lease"     // live: catenet.Lease, by network and address
	kindMemory    store.Kind = "memory"    // live: what a network that spans hosts remembers of them
	kindCursor    store.Kind = "cursor"    // live: where each pool of a network goes on
)

// networkEntry is a network on disk. Pending ones were never promised.
type networkEntry struct {
	catenet.Network
	Pending bool   `json:"pending,omitempty"`
	Was     string `json:"was,omitempty"` // its earlier name, which other records may have still
}

// containerEntry is a container of our own on disk. Pending ones were never
// promised: their first start was under way.
type containerEntry struct {
	catenet.Sandbox
	Pending bool `json:"pending,omitempty"`
}

// sandboxEntry is a sandbox in the live file. With Next set, somebody was on
// the way from Now to Next; Now is what was promised.
type sandboxEntry struct {
	Now  *record `json:"now,omitempty"`
	Next *record `json:"next,omitempty"`
}

// record is everything that a sandbox has. Once it is made it is never
// changed: a change makes a new one.
type record struct {
	catenet.SandboxStatus
	// ResolverPort is where the resolver listens inside; 0 before it does.
	ResolverPort uint16 `json:"resolver_port,omitempty"`
	// Target is what is watched for the sandbox's end (attach).
	Target kernel.Target `json:"target,omitzero"`
	// Pin is the place that we gave the namespace; "" if it has its own.
	Pin string `json:"pin,omitempty"`
	// Etc is the folder whose hosts and resolv.conf are the sandbox's; "" if
	// it has none.
	Etc string `json:"etc,omitempty"`
	// EtcFiles are the files in Etc that are ours to write and remove.
	EtcFiles []string `json:"etc_files,omitempty"`
	// EtcDirs are the folders of an attached namespace's files that we make
	// and remove, the inner one first.
	EtcDirs []string `json:"etc_dirs,omitempty"`

	// asks are what Bindings came of, in their order; only while the record is
	// being planned.
	asks []ask
}

// clone returns a copy whose slices can be changed.
func (r *record) clone() *record {
	c := *r
	c.Endpoints = slices.Clone(r.Endpoints)
	c.Bindings = slices.Clone(r.Bindings)
	c.Networks = slices.Clone(r.Networks)
	c.EtcFiles = slices.Clone(r.EtcFiles)
	c.EtcDirs = slices.Clone(r.EtcDirs)
	c.Warnings = slices.Clone(r.Warnings)
	return &c
}

// without returns a copy of the record that is not in a network any more.
func (r *record) without(network, id string) *record {
	c := r.clone()
	c.Networks = slices.DeleteFunc(c.Networks, func(s catenet.EndpointSpec) bool { return s.Network == network })
	c.Endpoints = slices.DeleteFunc(c.Endpoints, func(ep catenet.Endpoint) bool { return ep.NetworkID == id })
	return c
}

// status is what the API shows.
func (r *record) status() catenet.SandboxStatus {
	st := r.clone().SandboxStatus
	st.Expected = r.expected()
	return st
}

// endpoint returns the record's endpoint in a network.
func (r *record) endpoint(networkID string) (catenet.Endpoint, bool) {
	if r != nil {
		for _, ep := range r.Endpoints {
			if ep.NetworkID == networkID {
				return ep, true
			}
		}
	}
	return catenet.Endpoint{}, false
}

// has reports whether the record has the endpoint.
func (r *record) has(endpointID string) bool {
	return r != nil && slices.ContainsFunc(r.Endpoints, func(ep catenet.Endpoint) bool { return ep.ID == endpointID })
}

// networked reports whether the sandbox has a namespace of its own that can
// join networks.
func (r *record) networked() bool { return r.Mode == "" }

// portKey identifies a binding: on the host, or if it is routed among those of
// its container.
type portKey struct {
	proto  catenet.Proto
	at     netip.AddrPort
	routed uint16
}

func keyOf(b catenet.PortBinding) portKey {
	key := portKey{proto: b.Proto, at: netip.AddrPortFrom(b.HostIP, b.HostPort)}
	if b.Routed {
		key.routed = b.Port
	}
	return key
}

// target returns where a binding leads.
func (r *record) target(b catenet.PortBinding) netip.AddrPort {
	for _, ep := range r.Endpoints {
		if ep.ID == b.EndpointID {
			a := ep.IPv6.Addr()
			if b.HostIP.Is4() {
				a = ep.IPv4.Addr()
			}
			return netip.AddrPortFrom(a, b.Port)
		}
	}
	return netip.AddrPort{}
}

// firewallPort is a binding as the firewall takes it.
func (r *record) firewallPort(b catenet.PortBinding) firewall.Port {
	p := firewall.Port{Proto: b.Proto, HostIP: b.HostIP, HostPort: b.HostPort, To: r.target(b)}
	for _, ep := range r.Endpoints {
		if ep.ID == b.EndpointID {
			p.Network = ep.NetworkID
		}
	}
	return p
}

// loopbackPort is a binding as the host's own processes see it.
func (r *record) loopbackPort(b catenet.PortBinding) kernel.LoopbackPort {
	return kernel.LoopbackPort{Proto: string(b.Proto), IP: b.HostIP, Port: b.HostPort, To: r.target(b)}
}

// loopbackPorts are those that are reached by loopback addresses.
func (r *record) loopbackPorts() (ports []kernel.LoopbackPort) {
	for _, b := range r.Bindings {
		if onLoopback(b) {
			ports = append(ports, r.loopbackPort(b))
		}
	}
	return ports
}

// onLoopback reports whether a binding can be reached by a loopback address.
func onLoopback(b catenet.PortBinding) bool {
	return !b.Routed && (b.HostIP.IsLoopback() || b.HostIP.IsUnspecified())
}

// flowsOf are those that a binding lets in: to the host's port, and to the
// container's own.
func (r *record) flowsOf(b catenet.PortBinding) []kernel.Flow {
	direct := direct(b.Proto, r.target(b))
	if b.Routed {
		return []kernel.Flow{direct}
	}
	return []kernel.Flow{direct, {LoopbackPort: r.loopbackPort(b)}}
}

// direct are the flows to a container's own address and port.
func direct(proto catenet.Proto, to netip.AddrPort) kernel.Flow {
	return kernel.Flow{LoopbackPort: kernel.LoopbackPort{Proto: string(proto), IP: to.Addr(), Port: to.Port(), To: to}}
}

// bindingsDiff returns what next has and now has not, and the reverse. A
// binding that leads elsewhere than before is in both.
func bindingsDiff(now, next *record) (add, remove []catenet.PortBinding) {
	return bindingsBut(next, now), bindingsBut(now, next)
}

// bindingsBut returns a's bindings that b does not have just so.
func bindingsBut(a, b *record) (out []catenet.PortBinding) {
	if a == nil {
		return nil
	}
	same := make(map[portKey]netip.AddrPort)
	if b != nil {
		for _, x := range b.Bindings {
			same[keyOf(x)] = b.target(x)
		}
	}
	for _, x := range a.Bindings {
		if to, ok := same[keyOf(x)]; !ok || to != a.target(x) {
			out = append(out, x)
		}
	}
	return out
}

// endpointsBut returns a's endpoints that b does not have.
func endpointsBut(a, b *record) (out []catenet.Endpoint) {
	if a == nil {
		return nil
	}
	for _, ep := range a.Endpoints {
		if !b.has(ep.ID) {
			out = append(out, ep)
		}
	}
	return out
}

// hostLink fills in what the driver names an endpoint's outside.
func hostLink(ep catenet.Endpoint) string { return driver.HostLinkName(ep.ID) }
