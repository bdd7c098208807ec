package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/names"
)

// serve opens the resolver's sockets inside the namespace, unless they are
// open or were handed over by an earlier daemon, and puts their port into next.
func (e *Engine) serve(ctx context.Context, sb *sandbox, next *record, ns *kernel.Namespace, u *undo) error {
	if sb.serves {
		return nil
	}
	undone := func() {
		e.o.Names.Stop(sb.id)
		sb.serves = false
	}
	port, err := e.o.Names.Resume(e.view(next))
	if err != nil {
		return fmt.Errorf("go on with resolver of %s: %w", next.Name, err)
	}
	if port != 0 {
		next.ResolverPort, sb.serves = port, true
		u.add(undone)
		return nil
	}
	packets, streams, err := e.o.Sockets.ListenIn(ctx, ns, next.ResolverPort)
	if err != nil {
		return fmt.Errorf("open resolver of %s: %w", next.Name, err)
	}
	next.ResolverPort = netip.MustParseAddrPort(streams.Addr().String()).Port()
	if err := e.o.Names.Serve(e.view(next), packets, streams); err != nil {
		return fmt.Errorf("serve resolver of %s: %w", next.Name, errors.Join(err, packets.Close(), streams.Close()))
	}
	sb.serves = true
	u.add(undone)
	return nil
}

// lookups is what a namespace that has come is given of its resolver.
func (r *record) lookups() kernel.Outfit {
	o := kernel.Outfit{ResolverPort: r.ResolverPort, Beside: r.Parked}
	for i := range r.Endpoints { // none is read whole: the other side of furnish writes what its link is called
		o.Further = o.Further || r.Endpoints[i].Spec.OwnResolver
	}
	return o
}

// redirect leads the lookups of a namespace to the resolver that is served in it.
func (e *Engine) redirect(ctx context.Context, now, next *record, ns *kernel.Namespace, u *undo) error {
	if err := e.o.Host.Dress(ctx, ns, next.lookups()); err != nil {
		return fmt.Errorf("redirect lookups of %s: %w", next.Name, err)
	}
	before := kernel.Outfit{NoResolver: true}
	if now != nil && !now.expected() {
		before = now.lookups()
		if now.State != catenet.StateRunning || before.Further == next.lookups().Further {
			return nil
		}
	}
	u.add(func() {
		e.report("take back redirect", next.Name, e.o.Host.Dress(context.WithoutCancel(ctx), ns, before))
	})
	return nil
}

// unredirect takes the redirect of lookups out of a namespace that may live on
// without us.
func (e *Engine) unredirect(ctx context.Context, ns *kernel.Namespace) error {
	return e.o.Host.Dress(ctx, ns, kernel.Outfit{NoResolver: true})
}

// view is a sandbox as the resolver serves it: its networks in the order of
// their priority.
func (e *Engine) view(r *record) names.Sandbox {
	answers, _ := e.aliases(r)
	eps := byPriority(r)
	v := names.Sandbox{ID: r.ID, DNS: e.dnsOf(r), ExtraHosts: append(e.extraHosts(r), answers...)}
	if r.Parked {
		v.Behind = beside{e, r.NetnsPath}
	}
	for _, ep := range eps {
		v.Networks = append(v.Networks, ep.NetworkID)
	}
	return v
}

// byPriority are a sandbox's endpoints, the one with the highest priority first.
func byPriority(r *record) []catenet.Endpoint {
	eps := slices.Clone(r.Endpoints)
	slices.SortStableFunc(eps, func(a, b catenet.Endpoint) int { return cmp.Compare(b.Spec.GwPriority, a.Spec.GwPriority) })
	return eps
}

// dnsOf is how a sandbox resolves what nobody here knows: by the servers that
// it asked for, else by those of its networks.
func (e *Engine) dnsOf(r *record) catenet.DNSConfig {
	dns := r.DNS
	if len(dns.Servers) > 0 {
		return dns
	}
	dns.Servers = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ep := range byPriority(r) {
		if n := e.networks[ep.NetworkID]; n != nil {
			dns.Servers = append(dns.Servers, n.DNS...)
		}
	}
	return dns
}

// extraHosts are a sandbox's --add-host, with the host's own address in place
// of host-gateway.
func (e *Engine) extraHosts(r *record) []names.Host {
	if len(r.ExtraHosts) == 0 {
		return nil
	}
	var gateways [2]netip.Addr
	if r.Mode == catenet.ModeHost {
		gateways = e.predefinedGateways()
	}
	for _, ep := range r.Endpoints {
		if ep.DefaultRoute4 || !gateways[0].IsValid() {
			gateways[0] = ep.Gateway4
		}
		if ep.DefaultRoute6 || !gateways[1].IsValid() {
			gateways[1] = ep.Gateway6
		}
	}
	hosts, err := names.ExtraHosts(r.ExtraHosts, gateways[:]...)
	e.report("read extra hosts", r.Name, err) // they were checked when they came
	return hosts
}

// predefinedGateways are the host's addresses in the predefined network, by
// which containers reach it.
func (e *Engine) predefinedGateways() (gateways [2]netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(catenet.NetworkBridge)
	if err != nil {
		return gateways
	}
	for _, p := range n.Pools {
		family := 0
		if p.Gateway.Is6() {
			family = 1
		}
		if !gateways[family].IsValid() {
			gateways[family] = p.Gateway
		}
	}
	return gateways
}

// name makes next's names known and renews what the sandbox itself sees, and
// those that link to it.
func (e *Engine) name(ctx context.Context, sb *sandbox, now, next *record, u *undo) error {
	u.add(func() {
		for _, ep := range endpointsBut(next, now) {
			e.o.Names.Delete(ep.ID)
		}
		var back *record
		if now != nil && now.State == catenet.StateRunning {
			back = now
			e.register(back)
		}
		e.report("take back links", next.Name, e.relink(context.WithoutCancel(ctx), sb, back))
	})
	e.register(next)
	for _, ep := range endpointsBut(now, next) {
		e.o.Names.Delete(ep.ID)
	}
	return e.relink(ctx, sb, next)
}

// register makes a record's names known.
func (e *Engine) register(r *record) {
	for _, ep := range r.Endpoints {
		err := e.o.Names.Put(names.Record{
			EndpointID: ep.ID, NetworkID: ep.NetworkID, Name: r.Name, Aliases: ep.Spec.Aliases,
			// The full ID, of 64 digits, is longer than a label may be.
			IDs: []string{catenet.ShortID(r.ID)}, IPv4: ep.IPv4.Addr(), IPv6: ep.IPv6.Addr(),
		})
		e.report("make names known", r.Name, err)
	}
}

// unname takes away a sandbox's names and resolver.
func (e *Engine) unname(sb *sandbox, now *record) {
	for _, ep := range now.Endpoints {
		e.o.Names.Delete(ep.ID)
	}
	e.o.Names.Stop(sb.id)
	sb.serves = false
}

// content is what one of a sandbox's files says.
func (e *Engine) content(r *record, name string) []byte {
	switch name {
	case "hostname":
		return []byte(r.Hostname + "\n")
	case "hosts":
		in := e.networkOf(r)
		_, lines := e.aliases(in)
		h := names.HostsFile{Names: []string{r.Hostname, r.Name}, Extra: append(e.extraHosts(in), lines...)}
		if in != r {
			h.Names = append(h.Names, in.Hostname, in.Name)
		}
		if r.Mode == catenet.ModeHost {
			h.Base, h.Names = hostFile("/etc/hosts"), nil
		}
		for _, ep := range in.Endpoints {
			h.Addrs = append(h.Addrs, ep.IPv4.Addr(), ep.IPv6.Addr())
		}
		return names.Hosts(h)
	}
	host := e.o.Names.HostConf()
	if in := e.networkOf(r); in.networked() {
		return names.ResolvConf(e.dnsOf(in), host, e.outside(in))
	}
	return names.HostResolvConf(hostFile("/etc/resolv.conf"), r.DNS, host)
}

// networkOf is the sandbox whose network a sandbox uses: its own, or that of
// the one that it shares with while that is there.
func (e *Engine) networkOf(r *record) *record {
	if target, ok := strings.CutPrefix(r.Mode, catenet.ModeContainer); ok {
		if host, err := e.record(target); err == nil {
			return host
		}
	}
	return r
}

// hostFile is one of the host's own files; one that is missing is empty, as
// the C library takes it.
func hostFile(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return []byte{}
	}
	return b
}

// outside reports whether a sandbox is in a network that is not internal.
func (e *Engine) outside(r *record) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(r.Endpoints, func(ep catenet.Endpoint) bool {
		n := e.networks[ep.NetworkID]
		return n != nil && !n.inward()
	})
}
