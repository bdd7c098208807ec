package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/names"
	"github.com/catenet/catenet/internal/store"
)

// defaultDriver is the driver of networks that name none.
const defaultDriver = "bridge"

// CreateNetwork makes a network and returns it, and what somebody should know
// about it.
func (e *Engine) CreateNetwork(ctx context.Context, spec catenet.NetworkSpec) (catenet.Network, []string, error) {
	if err := generalize(&spec); err != nil {
		return catenet.Network{}, nil, err
	}
	if err := e.configure(&spec); err != nil {
		return catenet.Network{}, nil, err
	}
	spec.Driver = cmp.Or(spec.Driver, defaultDriver)
	if spec.ConfigOnly {
		spec.Driver = configDriver
	}
	if err := e.validateNetwork(spec); err != nil {
		return catenet.Network{}, nil, err
	}
	n, err := e.makeNetwork(ctx, catenet.Network{ID: catenet.NewID(), NetworkSpec: spec, Created: time.Now()})
	if err != nil {
		return catenet.Network{}, nil, err
	}
	e.tell("network", "create", n.ID, "name", spec.Name, "type", n.Driver)
	e.mu.Lock()
	defer e.mu.Unlock()
	return n.Network, n.warnings(), nil
}

var errNoKey = catenet.Invalidf("a label has no key").WithHint("a label is written KEY=VALUE")

// validateNetwork checks a spec before anything is touched.
func (e *Engine) validateNetwork(spec catenet.NetworkSpec) error {
	if err := validateNetworkName(spec.Name); err != nil {
		return err
	}
	if _, nameless := spec.Labels[""]; nameless {
		return errNoKey
	}
	if spec.ConfigOnly {
		return validateConfigOnly(spec)
	}
	d := e.drivers[spec.Driver]
	if d == nil {
		return catenet.NotFoundf("there is no driver %q", spec.Driver).WithHint("drivers: %s", strings.Join(e.driverNames(), ", "))
	}
	if err := names.ValidateDNS(catenet.DNSConfig{Servers: spec.DNS}); err != nil {
		return err
	}
	if err := validateRoutes(spec); err != nil {
		return err
	}
	if spec.TakeClaims && driver.ShapeOf(d).Inside {
		return catenet.Unsupportedf("containers of a runtime that makes their namespaces late cannot join a network of kind %s: its links cannot wait for them", spec.Driver).
			WithHint("choose another driver; or attach a namespace that is there: catenet attach")
	}
	return d.Validate(spec)
}

func (e *Engine) driverNames() []string {
	names := make([]string, len(e.o.Drivers))
	for i, d := range e.o.Drivers {
		names[i] = d.Name()
	}
	return names
}

// makeNetwork gives a network its pools, records it, and brings it up.
func (e *Engine) makeNetwork(ctx context.Context, n catenet.Network) (*network, error) {
	var u undo
	var err error
	defer func() { u.unless(&err) }()
	host, err := e.o.Host.Routes(ctx)
	if err != nil {
		err = fmt.Errorf("read routes: %w", err)
		return nil, err
	}
	net, err := e.place(ctx, n, host, &u)
	if err != nil {
		return nil, err
	}
	u.add(func() { e.locked(func() { delete(e.networks, n.ID) }) })
	if err = e.keepNetwork(networkEntry{Network: net.Network, Pending: true}); err != nil {
		return nil, err
	}
	u.add(func() { e.report("take back network", net.Name, e.dropNetwork(net.ID)) })
	if err = e.bringUp(ctx, net, &u); err != nil {
		return nil, err
	}
	if err = e.keepNetwork(networkEntry{Network: net.Network}); err != nil {
		return nil, err
	}
	net.state.Warnings = append(net.state.Warnings, net.overlaps(net.Pools, host)...)
	e.o.Names.SetNetwork(net.ID, net.Name, net.inward())
	e.locked(func() { net.ready = true })
	e.keepSpan(net)
	e.takeClaims(net)
	return net, nil
}

// place gives a network its part, if it reaches over several hosts, and adds it to the
// model.
func (e *Engine) place(ctx context.Context, n catenet.Network, host []netip.Prefix, u *undo) (*network, error) {
	if _, spans := e.drivers[n.Driver].(driver.Spanning); spans && !n.ConfigOnly {
		e.taking.Lock()
		defer e.taking.Unlock()
		if err := e.takePart(ctx, &n, u); err != nil {
			return nil, err
		}
	}
	return e.enter(n, ipam.Surroundings{Host: besides(n.Part, host), Defaults: e.o.Pools, Seed: e.o.Store.NodeID()})
}

// inward reports whether nothing outside is reached by way of the network.
func (n *network) inward() bool { return n.Internal || driver.ShapeOf(n.driver).Apart }

// overlaps says which pools have addresses that the host reaches otherwise.
func (n *network) overlaps(pools []catenet.Pool, host []netip.Prefix) (warnings []string) {
	for _, p := range pools {
		if i := slices.IndexFunc(host, func(h netip.Prefix) bool { return p.Subnet.Overlaps(h) && !n.leads(h) }); i >= 0 && !driver.ShapeOf(n.driver).Apart {
			warnings = append(warnings, fmt.Sprintf(
				"subnet %s overlaps %s, which the host reaches otherwise: what both have goes to the network's containers from now on", p.Subnet, host[i].Masked()))
		}
	}
	return warnings
}

// leads reports whether a route of the host's may be to the network's other hosts.
func (n *network) leads(to netip.Prefix) bool {
	return slices.ContainsFunc(spanOf(n.driver, n.Network), to.Overlaps)
}

// newPools makes the allocators of pools.
func newPools(pools []catenet.Pool) (made []*ipam.Pool, err error) {
	for _, p := range pools {
		pool, err := ipam.NewPool(p)
		if err != nil {
			return nil, err
		}
		if (p.Range.IsValid() || len(p.SetAside) > 0) && pool.Use().Free == 0 {
			return nil, catenet.Invalidf("the range %s has no address for a container", cmp.Or(p.Range, p.Subnet)).
				WithHint("its addresses are the network's own, the gateway's, auxiliary ones or set aside; name a larger --ip-range, or none, or set less aside")
		}
		made = append(made, pool)
	}
	return made, nil
}

// enter adds a network to the model, with its name and pools taken, but not
// to be seen yet.
func (e *Engine) enter(n catenet.Network, around ipam.Surroundings) (*network, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.free(n.Name); err != nil {
		return nil, err
	}
	around.Networks = e.neighbours(func(claimed netip.Prefix) bool {
		return n.TakeClaims && slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet == claimed })
	})
	d := e.driverOf(n)
	span := spanOf(d, n)
	if err := apart(span, around.Networks); err != nil {
		return nil, err
	}
	if n.Part == nil {
		around.Host = slices.Concat(around.Host, span) // what is chosen is nobody else's
	}
	if n.ConfigFrom != "" {
		if _, err := e.configNetwork(n.ConfigFrom); err != nil {
			return nil, err // it went since it was read
		}
	}
	if _, mode := d.(driver.Mode); !mode && !n.ConfigOnly {
		shape := driver.ShapeOf(d)
		around.Apart, around.Bits4, around.Bits6 = shape.Apart, shape.Bits4, shape.Bits6
		pools, err := ipam.Complete(n.NetworkSpec, around)
		if err != nil {
			return nil, err
		}
		n.Pools = pools
		if err := checkGateways(n.NetworkSpec); err != nil {
			return nil, err
		}
	}
	pools, err := newPools(livePools(n))
	if err != nil {
		return nil, err
	}
	net := &network{Network: n, driver: d, members: make(map[string]string), leases: make(map[netip.Addr]catenet.Lease), pools: pools}
	e.networks[n.ID] = net
	for _, sb := range e.sandboxes { // that asked for an address in an earlier network of that name
		if sb.now != nil {
			e.reclaimFixed(sb.now, net)
		}
	}
	return net, nil
}

// neighbours are the networks whose subnets no other may overlap, with those
// that are about to be added to them, and claims, but for those that are taken.
// e.mu is held.
func (e *Engine) neighbours(takes func(netip.Prefix) bool) (all []catenet.Network) {
	for _, c := range e.claims {
		if takes == nil || !takes(c.Subnet) {
			all = append(all, catenet.Network{NetworkSpec: catenet.NetworkSpec{Name: "(promised to another runtime)", Pools: []catenet.Pool{c.Pool}}})
		}
	}
	for _, n := range e.networks {
		if !n.ConfigOnly {
			on := n.Network
			on.Pools = slices.Concat(n.Pools, n.coming.pools, poolsOf(spanOf(n.driver, n.Network)))
			all = append(all, on)
		}
	}
	return all
}

// bringUp makes the network's links and firewall rules.
func (e *Engine) bringUp(ctx context.Context, n *network, u *undo) error {
	state, err := n.driver.Up(ctx, e.o.Host, n.Network)
	if err != nil {
		return fmt.Errorf("bring up network %s: %w", n.Name, err)
	}
	undoing := context.WithoutCancel(ctx)
	u.add(func() { e.report("take down network", n.Name, n.driver.Down(undoing, e.o.Host, n.Network)) })
	e.locked(func() { n.state = state })
	if len(state.Firewall) == 0 {
		return nil
	}
	if err := e.o.Firewall.Apply(ctx, firewall.Change{AddNetworks: state.Firewall}); err != nil {
		return fmt.Errorf("guard network %s: %w", n.Name, err)
	}
	u.add(func() { e.report("take back rules of network", n.Name, e.unguard(undoing, n)) })
	return nil
}

// unguard removes a network's firewall rules.
func (e *Engine) unguard(ctx context.Context, n *network) error {
	var c firewall.Change
	for _, f := range n.state.Firewall {
		c.RemoveNetworks = append(c.RemoveNetworks, f.ID)
	}
	if len(c.RemoveNetworks) == 0 {
		return nil
	}
	return e.o.Firewall.Apply(ctx, c)
}

func (e *Engine) keepNetwork(entry networkEntry) error {
	err := e.o.Store.Update(store.Durable, func(tx *store.Tx) error {
		err := tx.Put(kindNetwork, entry.ID, entry)
		if entry.Part != nil && !entry.Pending { // which is the network's from now on
			err = errors.Join(err, tx.Delete(kindHandback, entry.ID))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("record network %s: %w", entry.Name, err)
	}
	return nil
}

func (e *Engine) dropNetwork(id string) error {
	return e.o.Store.Update(store.Durable, func(tx *store.Tx) error { return tx.Delete(kindNetwork, id) })
}

// report logs what failed where nobody is left to be told.
func (e *Engine) report(doing, name string, err error) {
	if err != nil {
		e.log.Error(doing, "name", name, "err", err)
	}
}

// Networks returns all networks, by name.
func (e *Engine) Networks(context.Context) ([]catenet.NetworkStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []catenet.NetworkStatus
	for _, n := range e.networks {
		if n.ready && !n.removing {
			out = append(out, e.networkStatus(n))
		}
	}
	slices.SortFunc(out, func(a, b catenet.NetworkStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Network returns one network, with who owns which of its addresses.
func (e *Engine) Network(_ context.Context, ref string) (catenet.NetworkStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.network(ref)
	if err != nil {
		return catenet.NetworkStatus{}, err
	}
	st := e.networkStatus(n)
	for _, p := range n.pools {
		for a, owner := range p.Owners() {
			if sb := e.sandboxes[owner]; sb != nil {
				owner = sb.name
			}
			st.Owners = append(st.Owners, catenet.AddressOwner{Address: a, Owner: owner})
		}
	}
	return st, nil
}

// networkStatus is a network and what is in it. e.mu is held.
func (e *Engine) networkStatus(n *network) catenet.NetworkStatus {
	st := catenet.NetworkStatus{Network: n.Network}
	for _, f := range n.state.Firewall {
		st.Link = f.Link
	}
	for _, p := range n.pools {
		st.Use = append(st.Use, p.Use())
	}
	st.Endpoints = slices.SortedFunc(e.membersOf(n), oldestFirst)
	st.Peers = n.state.Peers
	if n.span != nil {
		st.Peers = n.span.peers
		if n.span.traffic != nil {
			st.Traffic = new(n.span.traffic())
		}
	}
	if err := n.trouble(); err != nil {
		st.Trouble = told(err)
	}
	return st
}

// membersOf goes through the endpoints in a network. e.mu is held.
func (e *Engine) membersOf(n *network) iter.Seq[catenet.Endpoint] {
	return func(yield func(catenet.Endpoint) bool) {
		for epID, sbID := range n.members {
			sb := e.sandboxes[sbID]
			if sb == nil || sb.now == nil {
				continue
			}
			for _, ep := range sb.now.Endpoints {
				if ep.ID == epID && !yield(ep) {
					return
				}
			}
		}
	}
}
